// Package publish is the command `raffsync publish`: it reads a file into events
// ([raffsync/connectors/filesource]), streams them to a broker
// ([raffsync/connectors/client]) and says what became of them.
//
//	file ─▶ filesource ─▶ client ─▶ broker
//	              │           │ results
//	              ▼           ▼
//	            report: counters, refused events ─▶ summary, --rejected, exit status
//
// It promises:
//
//   - Each event of the file is in the summary once: accepted, duplicate, unrouted,
//     in conflict, invalid or unacknowledged; the lines that made no event are listed.
//   - Ids come from the file, so running it again makes nothing twice: that is also
//     how an interrupted or failed run is continued.
//   - Progress goes to stderr, the summary to stdout, and nothing of the key anywhere.
//
// Exit status: 0 when everything was accepted, a duplicate or unrouted; 3 when some
// events were invalid or in conflict; 1 for anything else.
package publish
