package outbox

// DispatchSettings are those of a replica's sessions.
var DispatchSettings = dispatchSettings

// WriterSettings are those of a writer's session.
var WriterSettings = writerSettings
