// Package mailbox is a bounded queue of messages in a shared segment, with many senders and one receiver in any of its
// processes, and calls whose reply comes back in the frame of the request.
//
//   - A [Hub] joins one process to a segment: it makes and opens mailboxes, hands out frames, and has the one goroutine that
//     sleeps for all parked callers and receivers of the process.
//   - A [Mailbox] is the senders' side: TrySend, Send, Call.
//   - A [Receiver] is the consumer's right to one mailbox: TryReceive, Receive. What it returns is a [Message], which is
//     answered or released.
//   - Sweep mends what a dead process left, Check verifies a quiet segment.
//
// A message is accepted by one compare-and-swap, after it is complete: a sender that is killed or stopped anywhere delays nobody.
// docs/protocol.md has every step, and what is left when a party dies right after it.
package mailbox
