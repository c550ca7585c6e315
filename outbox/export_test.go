package outbox

// DispatchSettings are those of a replica's sessions.
var DispatchSettings = dispatchSettings

// WriterSettings are those of a writer's session.
var WriterSettings = writerSettings

// CopyFrom is the number of entries from which a batch goes by COPY.
const CopyFrom = copyFrom
