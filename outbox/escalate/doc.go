// Package escalate decides who hears of an exception, and when: at once, after so long in
// an outlet's opening hours, again, and then no more; and a [Worker] sees to it.
//
// A [Policy] is copied into the exception when it is raised, so that a change of the
// configuration changes nothing that is under way. [NextStep] is the decision: pure, over
// the policy, what has happened and the time.
//
//	raised ─▶ level 1 ──after──▶ level 2 ──after──▶ … last level ─┬─repeat─▶ again
//	             │                                                └▶ nothing more
//	      acknowledged: the chain rests ──expired──▶ it goes on with what was left
//	      resolved or dismissed: it is over; who was told hears of that
//
// Time counts while the policy's clock runs: always, or in the opening hours of the
// outlet, on its wall and but for its holidays. Quiet hours hold a notice back until they
// end; they do not stop the clock. What is severe or costly enough, by the policy's
// words, knows neither.
//
// A row of the table escalations stands for each exception: a trigger makes it where the
// exception is raised, and wakes it where it is closed or reopened, so that nothing that
// raises exceptions need know of this. The worker takes rows that are due, and in one
// transaction stores what has fired and appends the events by which teams are told: one
// event an address, of the tenant's source "raffsync", with one delivery to the internal
// destination of that address. So each level fires once, whoever dies when, and a notice
// is retried, guarded and audited as anything else. Whatever is due for one team within a
// minute of its last notice waits for the end of that minute, and is then told at once;
// what is over by then is not told at all.
package escalate
