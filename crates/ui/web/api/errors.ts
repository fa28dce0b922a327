/** Errors of the server, as its message, and of the connection. */

/** One problem of a request that is not valid (422). */
export interface Problem {
  loc: (string | number)[];
  msg: string;
  type: string;
}

/** The server answered with an error. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** Names the bound that is reached (429), or the kind of error of OpenAI's routes. */
    readonly code: string | null = null,
    readonly problems: Problem[] = [],
    /** Seconds until a retry may succeed. */
    readonly retryAfter: number | null = null,
    readonly mayRetry = true,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** The server can't be reached. */
export class ConnectionError extends Error {
  constructor(cause: unknown) {
    super("The server can't be reached.", { cause });
    this.name = "ConnectionError";
  }
}

/** Returns the error that a response is. Reads its body. */
export async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  const body = parsed(text);
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  const problems = problemsOf(body);
  return new ApiError(
    response.status,
    messageOf(body, problems) ?? (text.slice(0, 300).trim() || `The server answered with status ${response.status}.`),
    codeOf(body),
    problems,
    Number.isFinite(retryAfter) ? retryAfter : null,
    response.headers.get("x-should-retry") !== "false",
  );
}

function parsed(text: string): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function problemsOf(body: Record<string, unknown>): Problem[] {
  return Array.isArray(body.detail) ? (body.detail as Problem[]) : [];
}

function messageOf(body: Record<string, unknown>, problems: Problem[]): string | null {
  if (problems.length > 0) {
    return problems.map(({ loc, msg }) => (loc.length > 1 ? `${loc.slice(1).join(".")}: ${msg}` : msg)).join("\n");
  }
  if (typeof body.detail === "string") return body.detail;
  const error = body.error;
  if (typeof error === "object" && error !== null && "message" in error) return String(error.message);
  return null;
}

function codeOf(body: Record<string, unknown>): string | null {
  if (typeof body.code === "string") return body.code;
  const error = body.error;
  if (typeof error === "object" && error !== null && "code" in error && error.code !== null) return String(error.code);
  return null;
}
