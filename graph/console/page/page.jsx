import { createRoot } from 'react-dom/client';
import { GraphiQL } from 'graphiql';
import { getOperationAST, parse } from 'graphql';
import { createClient } from 'graphql-sse';
import './page.css';

// Absolute: a page whose own address holds a login can't fetch a relative one.
const url = new URL('/graphql', location.origin).href;

// The browser adds the credential that it was asked for with the page. One connection
// a subscription: GraphiQL runs one operation at a time.
const feed = createClient({ url, credentials: 'same-origin', retryAttempts: 5 });

async function ask(params) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
    body: JSON.stringify(params),
  });
  return response.json();
}

// Right after a change of tabs GraphiQL still names the operation of the tab before.
function fetcher({ operationName, ...params }) {
  const document = parse(params.query);
  const named = getOperationAST(document, operationName);
  const operation = named ?? getOperationAST(document);
  if (named) params.operationName = operationName;
  return operation?.operation === 'subscription' ? feed.iterate(params) : ask(params);
}

const overview = `# What is happening. Run it with Ctrl-Enter, or choose another operation.
query Overview {
  totals { accepted delivered open needsAction duplicates unrouted }
  destinations {
    name
    breaker { state reason nextProbeAt }
    depth
    needsAction
    oldestOpen { acceptedAt }
  }
  exceptions(filter: { open: true }, first: 10) {
    nodes { id class reason heldCount openedAt destination { name } }
  }
  deliveries(first: 10) {
    nodes {
      id
      version
      state
      waiting { reason until blockedBy { id } }
      destination { name }
      event { eventId type acceptedAt }
      attempts(first: 3) { at number kind reason nextAt }
    }
  }
}
`;

const story = `# All about an order number, an event's id or an ordering key.
query Story($text: String!) {
  search(text: $text) {
    nodes {
      ... on Event {
        id
        eventId
        type
        acceptedAt
        references { name value }
        deliveries {
          id
          version
          state
          waiting { reason until blockedBy { id } }
          destination { name }
          attempts { at kind reason nextAt detail }
        }
      }
    }
  }
}
`;

const live = `# What happens, as it happens.
subscription Live {
  changes {
    cursor
    lagged
    totals { accepted delivered open needsAction }
    entries { at what reason state kind destination { name } event { eventId type } }
  }
}
`;

const decide = `# Retry a delivery, or skip it (skipDelivery). Take id and version from the overview.
mutation Retry($input: DeliveryTransitionInput!) {
  retryDelivery(input: $input) {
    delivery { id state version }
    userErrors { field message code }
  }
}
`;

const tabs = [
  { query: overview },
  { query: story, variables: '{\n  "text": "1042"\n}' },
  { query: live },
  {
    query: decide,
    variables: '{\n  "input": {\n    "requestId": "choose-one",\n    "id": "dlv_…",\n    "expectedVersion": 1,\n    "reason": "why"\n  }\n}',
  },
];

createRoot(document.getElementById('page')).render(
  <GraphiQL fetcher={fetcher} defaultTabs={tabs} defaultQuery={overview} shouldPersistHeaders={false} isHeadersEditorEnabled={false} />,
);
