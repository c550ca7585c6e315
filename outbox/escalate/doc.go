// Package escalate decides who hears of an exception, and when: at once, after so long in
// an outlet's opening hours, again, and then no more.
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
package escalate
