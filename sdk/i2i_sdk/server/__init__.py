"""The live server: `i2i serve`. It needs the extra `web`; nothing here is imported before it is called.

run.py             from a socket to a clean exit: addresses, uvicorn, signals
app.py             the routes
client_session.py  one WebSocket: frames in, translated frames out, the newest frame wins
service.py         what both ways of sending pictures share: turns at the engine, threads, figures
encoded_images.py  encoded pictures: looked at before they are decoded, decoded, encoded
models.py          the served models and what is said of them
schema.py          the JSON that is answered
page.py            the files of the page
security.py        who may ask, and the headers of every answer
tls.py             a certificate for this machine
prometheus.py      what Prometheus reads
settings.py        what may be chosen, and the limits
refusals.py        every error a client can meet, with its HTTP status
"""
