// Requests to the gateway, forwarded by the monitor, and to the monitor itself.

/**
 * Send a POST request, with a token if it is not empty; returns the status, the response body, its
 * location and a message.
 */
export function post(path, body, token = "") {
  return send(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
}

/** Send a GET request, with a token if it is not empty; returns the same as `post`. */
export function read(path, token = "") {
  return send(path, { headers: token ? { authorization: `Bearer ${token}` } : {} });
}

/** Send a GET request; null for 404, undefined for any other failure. */
export async function get(path) {
  try {
    const answer = await fetch(path);
    if (answer.status === 404) return null;
    return answer.status === 200 ? await answer.json() : undefined;
  } catch {
    return undefined;
  }
}

async function send(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    return { status: 0, ok: false, body: {}, location: "", message: "The monitor does not respond. Is it still running?" };
  }
  const body = await answer.json().catch(() => ({}));
  const location = answer.headers.get("location") ?? "";
  return { status: answer.status, ok: answer.ok, body, location, message: describe(answer, body) };
}

function describe(answer, body) {
  if (answer.status === 200) return "200 OK";
  if (answer.status === 201) return "201 Created";
  if (answer.status === 202) return "202 Accepted: still pending";
  const wrong = (body.errors ?? []).map((each) => `${each.pointer.slice(1)} ${each.detail}`);
  return `${answer.status} ${body.title ?? answer.statusText}: ${wrong.length ? wrong.join("; ") : (body.detail ?? "")}`;
}
