// The server's HTTP side: the token, the list of models, and what its errors say.

const fragment = new URLSearchParams(location.hash.slice(1)); // a fragment is never sent nor logged
let token = fragment.get("token");

/** "webgpu" or "wasm" where the address asks for it (#device=wasm); else the device's best is taken. */
export const wantedProvider = fragment.get("device");

export class ApiError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const currentToken = () => token;

/** Keep the token in the page's own address, so that a reload knows it. */
export function setToken(value) {
  token = value;
  fragment.set("token", value);
  history.replaceState(null, "", `#${fragment}`);
}

export const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** Does the server answer at all? */
export function isThere() {
  const signal = AbortSignal.timeout(5000);
  return fetch("/healthz", { method: "HEAD", cache: "no-store", signal }).then(
    () => true,
    () => false,
  );
}

/** {"default", "models", "limits"}; throws ApiError: "unreachable", "token", or the server's own code. */
export async function fetchModels() {
  let response;
  try {
    response = await fetch("/v1/models", { headers: authorization(), cache: "no-store" });
  } catch {
    throw new ApiError("unreachable", "The server does not answer.");
  }
  if (response.status === 401) throw new ApiError("token", "The server wants a token.");
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new ApiError(body.error?.code ?? "http", body.error?.message ?? `The server says ${response.status}.`);
  }
  return body;
}
