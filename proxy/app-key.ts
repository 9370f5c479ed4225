/**
 * The name of the app among the names that lead somewhere; the colon keeps it apart from an upstream of the same name.
 */
export function appKey(service: { readonly name: string }): string {
  return `app:${service.name}`;
}
