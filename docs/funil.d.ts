// The types of funil.js: its events, and what it adds to the page. See funil-js.md.

/** The response of a function to a form that it kept. endpoints.md has the other members. */
interface FunilResponse {
  success: true;
  leadId?: string;
  submission_id?: string;
  /** The id by which Meta knows the event again, for the page's own Pixel. */
  eventId?: string;
  message?: string;
  bookingUrl?: string;
  booking_url?: string;
  [more: string]: unknown;
}

/** Why a form was refused (RFC 9457). */
interface FunilProblem {
  title: string;
  status: number;
  code: string;
  detail?: string;
  errors?: { field: string; code: string; message: string }[];
}

interface FunilEventMap {
  /** It is being sent. */
  "funil:sending": CustomEvent<{ function: string }>;
  /** It was kept. */
  "funil:success": CustomEvent<{ function: string; response: FunilResponse }>;
  /** It was refused. */
  "funil:refused": CustomEvent<{ function: string; problem: FunilProblem }>;
  /** There was no response of ours, and the form is sent again. `status` is 0 where there was no response at all. */
  "funil:waiting": CustomEvent<{ function: string; status: number }>;
  /** It got no response for 23 hours, and is not sent any more. */
  "funil:expired": CustomEvent<{ function: string }>;
}
interface DocumentEventMap extends FunilEventMap {}
interface HTMLElementEventMap extends FunilEventMap {}
interface WindowEventMap extends FunilEventMap {}
