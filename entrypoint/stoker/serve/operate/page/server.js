// Requests to the server that this page came from, with the API key if one is needed.

export const element = (id) => document.getElementById(id);

let key = sessionStorage.getItem("stoker-key") ?? "";

export function headers() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export function setKey(value) {
  key = value;
  sessionStorage.setItem("stoker-key", value);
}

/** The JSON of a path. Throws {status} for an answer that is not 200, {status: 0} when nobody answers. */
export async function get(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: headers() });
  } catch {
    throw { status: 0 };
  }
  if (!answer.ok) throw { status: answer.status };
  return answer.json();
}

/** The shell command that sends a request; of a key only the variable's name is in it. */
export function curl(path, request) {
  const quoted = JSON.stringify(request, null, 1).replaceAll("'", "'\\''");
  const authorization = key ? " \\\n  -H \"Authorization: Bearer $STOKER_API_KEY\"" : "";
  return `curl ${new URL(path, location.href)} \\\n  -H 'Content-Type: application/json'${authorization} \\\n  -d '${quoted}'`;
}

export function make(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
