"""Sound on its way from one video file into another, in sync with the picture."""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError, PatchWelcomeError

# What players read from these containers; FFmpeg's own lists name codecs that it then refuses to write.
SOUND_IN_MP4 = {"aac", "mp2", "mp3", "ac3", "eac3", "alac", "opus", "flac"}
SOUND_IN_MOV = SOUND_IN_MP4 - {"opus", "flac"} | {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"}
AAC_BITS_PER_CHANNEL = 96_000  # per second
# Seconds from packet to packet: from where damage explains a jump, and a clock begins anew.
MAX_DAMAGED_JUMP_S, MAX_JUMP_S = 1.0, 10.0
RESTARTING_CONTAINERS = ("mpegts", "mpeg")  # their clock may begin anew on the way
AAC_MAX_RATE = 48_000  # samples per second that every AAC player knows


class SoundTracks:
    """The audio tracks of a file on their way into another: copied where it takes the codec, else AAC.

    Args:
        source: the file that is read.
        sink: the file that is written; nothing of it may be encoded yet.
        video_start: when the first picture is shown, in seconds of the source's clock.

    Attributes:
        video_delay: seconds by which the picture starts later in the sink than its first sound.
    """

    def __init__(self, source: InputContainer, sink: OutputContainer, video_start: Fraction) -> None:
        self._sink = sink
        self._notes: list[str] = []
        self._damaged = self._repaired = 0
        # Damage can make up a track.
        tracks = tuple(track for track in source.streams.audio if track.sample_rate and track.channels)
        self._outputs = {track.index: self._add_output(track) for track in tracks}
        self._last = {track.index: -math.inf for track in tracks}  # by track, the last time stamp
        self._ends = {track.index: track.start_time or 0 for track in tracks}  # and the end of its packet
        self._shifts = dict.fromkeys(self._ends, 0)  # by which packets are moved, in their track's units
        self._restarts = source.format.name in RESTARTING_CONTAINERS
        # Times count from whatever starts first: sound before the first picture is kept, and so is sync.
        # Negative times are the run-up of an audio encoder, which players skip.
        audio_starts = [Fraction(t.start_time or 0) * (t.time_base or 0) for t in tracks]
        self._origin = min([video_start, *(max(Fraction(0), start) for start in audio_starts)])
        self.video_delay = video_start - self._origin
        self._packets = source.demux(tracks) if tracks else iter(())
        self._next = self._read_packet()
        if subtitles := len(source.streams.subtitles):
            self._notes.append(f"{subtitles} subtitle track(s) not copied")
        if len(source.streams.video) > 1:
            others = len(source.streams.video) - 1
            self._notes.append(f"{others} other picture track(s), such as a cover, not copied")

    def copy_until(self, seconds: float | Fraction) -> None:
        """Move the packets that start by `seconds`, so that picture and sound lie side by side."""
        while (packet := self._next) is not None:
            if packet.dts is not None and packet.dts * packet.time_base - self._origin > seconds:
                return
            self._copy(packet)

    def copy_rest(self) -> None:
        """Move what is left when the picture has ended."""
        while (packet := self._next) is not None:
            self._repair_time(packet, MAX_JUMP_S)
            self._copy(packet)

    def collect_notes(self) -> list[str]:
        """What the user should know about the sound."""
        notes = list(self._notes)
        if self._repaired:
            notes.append(f"{self._repaired} packet(s) of sound had wrong times, which were repaired")
        if self._damaged:
            notes.append(f"{self._damaged} damaged packet(s) of sound left out")
        return notes

    def _read_packet(self) -> av.Packet[av.AudioStream] | None:
        try:
            packet = next(self._packets, None)
        except IndexError:  # PyAV's at the end, where damage made a track up on the way
            return None
        except FFmpegError:
            self._notes.append("the sound breaks off")
            return None
        if packet is not None and packet.dts is not None:
            shift = self._shifts[packet.stream.index]
            packet.pts = (packet.dts if packet.pts is None else packet.pts) + shift
            packet.dts += shift
            # Elsewhere the sound may pause for as long as it likes.
            max_jump = MAX_DAMAGED_JUMP_S if packet.is_corrupt else MAX_JUMP_S if self._restarts else math.inf
            self._repair_time(packet, max_jump)
        return packet

    def _repair_time(self, packet: av.Packet[av.AudioStream], max_jump: float) -> None:
        """Where a packet lies before the one before, or more than `max_jump` seconds after it, it follows it.

        After a far jump all packets are moved as far: damage passes, and a clock that begins anew goes on.
        """
        if packet.dts is None:
            return
        track = packet.stream.index
        ticks = self._ends[track] - packet.dts
        is_far = not -max_jump <= ticks * packet.time_base <= MAX_DAMAGED_JUMP_S
        if is_far or packet.dts <= self._last[track]:
            packet.dts = packet.pts = self._ends[track]
            self._shifts[track] += ticks * is_far
            self._repaired += 1

    def _copy(self, packet: av.Packet[av.AudioStream]) -> None:
        track = packet.stream.index
        if packet.dts is not None:
            self._last[track], self._ends[track] = packet.dts, packet.dts + (packet.duration or 1)
        try:
            if packet.dts is not None or packet.size == 0:  # an empty one ends a track
                self._move(packet, self._outputs[track])
            else:
                self._damaged += 1
        except (InvalidDataError, PatchWelcomeError, ArgumentError):  # what the muxer cannot read
            self._damaged += 1
        self._next = self._read_packet()

    def _add_output(self, track: av.AudioStream) -> av.AudioStream:
        codec, container = track.codec_context.codec.canonical_name, self._sink.format.name
        codecs = {"mp4": SOUND_IN_MP4, "mov": SOUND_IN_MOV}.get(container, self._sink.supported_codecs)
        if codec in codecs:
            output = self._sink.add_stream_from_template(track)  # pyright: ignore[reportUnknownMemberType]
        else:
            output = self._sink.add_stream("aac", min(track.sample_rate, AAC_MAX_RATE))  # pyright: ignore[reportUnknownMemberType]
            unnamed = track.layout.name.endswith("channels")  # as in AVI: take the usual layout of that many
            output.layout = f"{track.channels}c" if unnamed else track.layout
            output.bit_rate = AAC_BITS_PER_CHANNEL * track.channels
            self._notes.append(f"sound encoded from {codec} to AAC, because {container} does not take it")
        for key in ("language", "title"):
            if key in track.metadata:
                output.metadata[key] = track.metadata[key]
        return output

    def _move(self, packet: av.Packet[av.AudioStream], output: av.AudioStream) -> None:
        if output.codec_context.is_encoder:
            self._encode(packet, output)
        elif packet.dts is not None:
            shift = round(self._origin / packet.time_base)
            pts = packet.dts if packet.pts is None else packet.pts
            packet.dts, packet.pts = packet.dts - shift, pts - shift
            packet.stream = output
            self._sink.mux(packet)  # pyright: ignore[reportUnknownMemberType]

    def _encode(self, packet: av.Packet[av.AudioStream], output: av.AudioStream) -> None:
        try:
            frames = packet.decode()
        except FFmpegError:
            self._damaged += 1
            frames = []
        for frame in frames:
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(self._origin / frame.time_base)
            encode(self._sink, output, frame)
        if packet.dts is None:
            encode(self._sink, output, None)


def find_video_start(path: Path) -> Fraction:
    """When the first frame that decodes is shown, in seconds of the file's clock; 0 without picture.

    Headers are no help: a recording may start with frames whose reference is missing.
    """
    with av.open(path.absolute(), "r", metadata_errors="replace") as file:
        track = file.streams.best("video")
        for packet in file.demux(track) if isinstance(track, av.VideoStream) else ():
            with suppress(InvalidDataError):
                for frame in packet.decode():
                    return (frame.pts or 0) * (frame.time_base or Fraction(0))
    return Fraction(0)


def encode(
    sink: OutputContainer,
    stream: av.VideoStream | av.AudioStream,
    frame: av.VideoFrame | av.AudioFrame | None,
) -> None:
    """Encode a frame, and write what comes out.

    Args:
        sink: the file that is written.
        stream: of the sink.
        frame: None writes what the encoder still holds.
    """
    sink.mux(stream.encode(frame))  # pyright: ignore
