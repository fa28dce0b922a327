/** Requests to the server that this page came from, with the user's key in a header. */

import { keys, noteRefusal, type Role } from "../state/keys";
import { ApiError, ConnectionError, errorOf } from "./errors";

export interface RequestOptions {
  method?: "GET" | "POST" | "PATCH" | "DELETE";
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is; `json` is then not used. */
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Whose key is sent; the client's by default. */
  role?: Role;
  /** A key to send instead of the stored one, to try it. */
  key?: string;
}

/**
 * Sends a request. Resolves with the response if its status is 2xx, and rejects with an `ApiError` for any other, with a
 * `ConnectionError` if the server can't be reached, and with the signal's reason if it is aborted.
 */
export async function send(path: string, options: RequestOptions = {}): Promise<Response> {
  const role = options.role ?? "client";
  const key = options.key ?? keys[role].value;
  const headers = new Headers(options.headers);
  if (key) headers.set("X-API-Key", key);
  let body = options.body;
  if (body === undefined && options.json !== undefined) {
    headers.set("Content-Type", "application/json");
    body = JSON.stringify(options.json);
  }
  let response: Response;
  try {
    response = await fetch(path, {
      method: options.method ?? "GET",
      headers,
      body,
      signal: options.signal,
      cache: "no-store",
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new ConnectionError(error);
  }
  if (response.ok) return response;
  const error = await errorOf(response);
  if (error.status === 401 && key && options.key === undefined) noteRefusal(role, key);
  throw error;
}

/** Sends a request and returns the JSON of its response. A connection that is lost in mid-reply is a `ConnectionError`. */
export async function call<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(path, options);
  let text: string;
  try {
    text = await response.text();
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new ConnectionError(error);
  }
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new ApiError(response.status, `The answer to ${path} is not JSON (${String(error)}).`);
  }
}

/** Returns whether the server accepts a key for this role. Rejects if the server can't be reached or is unwell. */
export async function accepts(role: Role, key: string): Promise<boolean> {
  try {
    await send(role === "admin" ? "/admin/overview" : "/v1/models", { role, key });
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return false;
    throw error;
  }
}
