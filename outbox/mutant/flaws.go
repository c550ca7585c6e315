package mutant

// Flaw names one way to build a broker wrongly.
type Flaw string

const (
	// AckBeforeCommit acknowledges events before they are committed.
	AckBeforeCommit Flaw = "ack-before-commit"
	// UnclearIsDone takes a COMMIT whose answer never came for done.
	UnclearIsDone Flaw = "unclear-is-done"
	// NoDeduplication makes an event of each sending of an id.
	NoDeduplication Flaw = "no-deduplication"
	// LaneInKey deduplicates within a lane only, so that an id under another ordering
	// key is another event.
	LaneInKey Flaw = "lane-in-key"
	// ConflictDropped acknowledges a second content of an id, and throws it away.
	ConflictDropped Flaw = "conflict-dropped"
	// NoFence goes on when its lease is lost, and nothing refuses what it stores: no look
	// at the lease, no epoch.
	NoFence Flaw = "no-fence"
	// NoEpoch looks at its lease, and nothing refuses what it stores when that is lost.
	NoEpoch Flaw = "no-epoch"
	// NoIntent sends without an intent.
	NoIntent Flaw = "no-intent"
	// OrphansForgotten takes a dead owner's lanes without settling what it was sending.
	OrphansForgotten Flaw = "orphans-forgotten"
	// OneCursor reads on after the highest position of all writers, past late commits.
	OneCursor Flaw = "one-cursor"
	// WakeupsAreTruth reads a lane only when a hint says so: nothing sweeps.
	WakeupsAreTruth Flaw = "wakeups-are-truth"
	// ReleaseLost never hears of what an operator released.
	ReleaseLost Flaw = "release-lost"
	// HiddenReplay sends a request again by itself where no answer came, as net/http
	// does on a broken keep-alive connection.
	HiddenReplay Flaw = "hidden-replay"
	// KeyPerAttempt gives each attempt an idempotency key of its own.
	KeyPerAttempt Flaw = "key-per-attempt"
	// ResendUnknown sends again what may have had its effect at a platform that does not
	// recognise keys.
	ResendUnknown Flaw = "resend-unknown"
	// OrderGuardOff lets later events of a key go while an earlier one waits for its retry.
	OrderGuardOff Flaw = "order-guard-off"
	// BreakerIgnored sends whatever the breaker says.
	BreakerIgnored Flaw = "breaker-ignored"
	// NoClaim sends for an effect without claiming it: two events of one order make two.
	NoClaim Flaw = "no-claim"
	// ShadowSends sends what its route has in shadow.
	ShadowSends Flaw = "shadow-sends"
	// MissedMapping holds a delivery for a look-up without asking whether the mapping has
	// come meanwhile.
	MissedMapping Flaw = "missed-mapping"
	// HeldByPages takes one off an exception's count for however many are set free at once.
	HeldByPages Flaw = "held-by-pages"
	// EditIgnored sends the event as it came, whatever a person has changed for it.
	EditIgnored Flaw = "edit-ignored"
	// LocalClock takes this machine's time for the database's.
	LocalClock Flaw = "local-clock"
)

// All is every flaw.
var All = []Flaw{
	AckBeforeCommit, UnclearIsDone, NoDeduplication, LaneInKey, ConflictDropped, NoFence, NoEpoch, NoIntent, OrphansForgotten,
	OneCursor, WakeupsAreTruth, ReleaseLost, HiddenReplay, KeyPerAttempt, ResendUnknown, OrderGuardOff, BreakerIgnored, NoClaim, ShadowSends,
	MissedMapping, HeldByPages, EditIgnored, LocalClock,
}

// Variable is the environment variable that names the flaw that is on.
const Variable = "RAFFSYNC_MUTANT"
