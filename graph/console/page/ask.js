// How the page asks: the browser adds the credential that it was asked for with the page.
import { createClient } from 'graphql-sse';

// Absolute: a page whose own address holds a login can't fetch a relative one.
const url = new URL('/graphql', location.origin).href;

// One connection a subscription: each view has one at a time.
export const feed = createClient({ url, credentials: 'same-origin', retryAttempts: 5 });

export async function ask(params) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
    body: JSON.stringify(params),
  });
  return response.json();
}

// data is what a query answers, or an error in words.
export async function data(query, variables) {
  const answer = await ask({ query, variables });
  if (answer.errors?.length) throw new Error(answer.errors.map((e) => e.message).join('; '));
  return answer.data;
}

// requestId names a request, so that a repeat of it changes nothing.
export const requestId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');

// change makes a mutation of one input, and throws what the API refuses, in its words.
export async function change(name, type, input, selected = '') {
  const found = await data(`mutation ($in: ${type}!) { done: ${name}(input: $in) { ${selected} userErrors { message } } }`, { in: input });
  if (found.done.userErrors.length) throw new Error(found.done.userErrors.map((e) => e.message).join('; '));
  return found.done;
}
