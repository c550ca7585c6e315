// The page for whoever wants to ask the API itself.
import { GraphiQL } from 'graphiql';
import { getOperationAST, parse } from 'graphql';
import { ask, feed } from './ask.js';

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
  board {
    acceptedToday
    deliveredToday
    needsAction
    late
    unrouted
    destinations { name breaker { state reason nextProbeAt } depth oldestAge drainEta }
  }
  exceptions(filter: { open: true }, orderBy: EXPOSURE_DESC, first: 10) {
    nodes { id title heldCount keysBlocked exposure { amount currency } turn { team role until } }
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
    change
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

export function Api() {
  return <GraphiQL fetcher={fetcher} defaultTabs={tabs} defaultQuery={overview} shouldPersistHeaders={false} isHeadersEditorEnabled={false} />;
}
