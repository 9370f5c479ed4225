/**
 * How something that was taken ended. "ignored" is the ending most breakers forget: it ended without saying
 * anything about the endpoint, as when the caller hung up.
 */
export type Outcome = "success" | "failure" | "ignored";
