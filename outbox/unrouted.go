package outbox

// ClassUnrouted is the class of the exception of events that no route wants: one for each
// source and type. It resolves by itself when a route takes the next of them.
const ClassUnrouted = "UNROUTED"
