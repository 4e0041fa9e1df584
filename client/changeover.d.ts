/** What is going on. */
export interface State {
  phase:
    | "idle" | "available" | "starting" | "preparing" | "updating" | "rolling-back" | "proving"
    | "updated" | "rolled-back" | "refused" | "needs-a-person" | "unknown";
  from?: string;
  to?: string;
  notes?: string;
  url?: string;
  /** Why it ended as it did, where the app says. */
  reason?: string;
  /** The page's status document, while the page answers. */
  page?: Record<string, unknown>;
  /** Nobody answers at the moment. */
  unreachable?: boolean;
  /** It takes long. */
  long?: boolean;
  /** The app did not answer before anything was started. */
  failed?: boolean;
}

export interface Options {
  /** The app's endpoint, `update` beside the document by default. */
  endpoint?: string;
  /** Instead of the browser's. */
  fetch?: typeof fetch;
  /** Instead of sessionStorage. */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** After so many milliseconds the state says `long`. */
  patience?: number;
  /** For so many milliseconds a new version must answer before it counts. */
  settle?: number;
}

/** Follows one app. Fires `change` whenever `state` is another. */
export class Update extends EventTarget {
  constructor(options?: Options);
  readonly endpoint: string;
  readonly state: State;
  readonly isFollowing: boolean;
  /** Goes on with what is under way, or asks the app what is new. Starts nothing. */
  check(): Promise<State>;
  /** Starts the update. Call it when a person has said yes, and at no other time. */
  start(): Promise<State>;
  /** Follows an update, whoever has started it, to its end. */
  follow(): Promise<State>;
  /** Looks away. */
  stop(): void;
}

/** `<changeover-update endpoint="/api/update" app="Acme Wiki">` */
export class ChangeoverUpdate extends HTMLElement {
  fetch: typeof fetch | null;
  readonly state: State;
  check(): Promise<State>;
  follow(): Promise<State>;
  open(): void;
}

/** Adds languages: those of `languages.js`, or words of your own. */
export function addLanguages(languages: Record<string, Record<string, string>> | { default: Record<string, Record<string, string>> }): void;

declare global {
  interface HTMLElementTagNameMap {
    "changeover-update": ChangeoverUpdate;
  }
}
