/**
 * What a route asks for in place of what is usual for the upstream that it leads to. It is carried by the request, as a route may
 * lead to several upstreams and an upstream be led to by a thousand routes: a stack for each pair would be many.
 */
export interface RoutePolicy {
  /** Time for the whole request, in milliseconds. */
  readonly requestMs?: number | undefined;
  /** Time for each attempt until its head, in milliseconds. */
  readonly attemptMs?: number | undefined;
  /** What is retried and how often; back-off and budget stay the upstream's. */
  readonly retries?: RoutedRetries | undefined;
}

export interface RoutedRetries {
  /** Further attempts after the first; 0 is none. */
  readonly attempts: number;
  /** Classes of failures and statuses, as an upstream's retries have them. */
  readonly on?: readonly (string | number)[] | undefined;
}
