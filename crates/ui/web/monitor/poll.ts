/** Loads something again and again, only while somebody can see it. */

import { type Signal, signal } from "@preact/signals";
import { ApiError } from "../api/errors";

/** How long a load may take, in milliseconds. */
const PATIENCE = 10_000;

/** A value that is loaded at once and then in intervals, while it is started and the page is visible. */
export class Poll<T> {
  /** The latest value; kept when a load fails. */
  readonly data: Signal<T | null> = signal(null);
  /** Why the latest load failed. */
  readonly error: Signal<unknown> = signal(null);
  /** When the latest value came, by this machine's clock. */
  readonly at: Signal<number | null> = signal(null);

  private users = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private loading: AbortController | null = null;

  /** `load` gets the value of now; `milliseconds` pass between two loads. */
  constructor(
    private readonly load: (abort: AbortSignal) => Promise<T>,
    private readonly milliseconds: number,
  ) {}

  /** Starts polling, and returns what stops it. */
  start(): () => void {
    this.users += 1;
    if (this.users === 1) {
      document.addEventListener("visibilitychange", this.onVisibility);
      void this.refresh();
    }
    let isStopped = false;
    return () => {
      if (isStopped) return;
      isStopped = true;
      this.users -= 1;
      if (this.users > 0) return;
      document.removeEventListener("visibilitychange", this.onVisibility);
      this.pause();
    };
  }

  /** Loads now. A load that is under way is dropped: it may have begun before the change that the caller made. */
  async refresh(): Promise<void> {
    this.pause();
    const loading = new AbortController();
    this.loading = loading;
    const limit = setTimeout(() => loading.abort(new Error("no answer within 10 s")), PATIENCE);
    try {
      const value = await this.load(loading.signal);
      if (this.loading !== loading) return;
      this.data.value = value;
      this.at.value = Date.now();
      this.error.value = null;
    } catch (error) {
      if (this.loading !== loading) return;
      this.error.value = loading.signal.aborted ? loading.signal.reason : error;
      // Refused keys are counted, and too many of them slow down the whole address.
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return;
    } finally {
      clearTimeout(limit);
    }
    if (this.users > 0 && !document.hidden) {
      this.timer = setTimeout(() => void this.refresh(), this.milliseconds);
    }
  }

  /** Forgets the value, as after another key was entered. */
  reset(): void {
    this.data.value = null;
    this.error.value = null;
    this.at.value = null;
  }

  private pause(): void {
    clearTimeout(this.timer);
    const { loading } = this;
    this.loading = null;
    loading?.abort();
  }

  private readonly onVisibility = (): void => {
    if (document.hidden) this.pause();
    else void this.refresh();
  };
}
