package mailbox

import "context"

// Mistakes that the check of histories must find. Each stands between a client and the real mailbox.

// wrongSends are senders that make a mistake, by what the mailbox then seems to do.
var wrongSends = map[string]func(sendFunc) sendFunc{
	"loses a message": func(send sendFunc) sendFunc {
		return nth(3, send, func(context.Context, int) error { return nil })
	},
	"sends a message twice": func(send sendFunc) sendFunc {
		return nth(3, send, func(ctx context.Context, value int) error {
			err := send(ctx, value)
			if err == nil {
				_ = send(atOnce, value)
			}
			return err
		})
	},
	"is full too early": func(send sendFunc) sendFunc {
		return nth(0, send, func(context.Context, int) error { return ErrMailboxFull })
	},
	"accepts what it refuses": func(send sendFunc) sendFunc {
		return nth(3, send, func(ctx context.Context, value int) error {
			_ = send(ctx, value)
			return ErrMailboxFull
		})
	},
	"sends late": func(send sendFunc) sendFunc {
		late := 0
		return func(ctx context.Context, value int) error {
			if late == 0 {
				late = value
				return nil
			}
			err := send(ctx, value)
			_ = send(atOnce, late)
			late = 0
			return err
		}
	},
	"says closed too early": func(send sendFunc) sendFunc {
		return nth(1, send, func(context.Context, int) error { return ErrStopped })
	},
}

// nth makes one call of a function differ.
func nth(n int, send, other sendFunc) sendFunc {
	return func(ctx context.Context, value int) error {
		n--
		if n == -1 {
			return other(ctx, value)
		}
		return send(ctx, value)
	}
}

// wrongReceives are receivers that make a mistake.
var wrongReceives = map[string]func(receiveFunc) receiveFunc{
	"swaps two messages": func(receive receiveFunc) receiveFunc {
		kept := 0
		return func(ctx context.Context) (int, bool, func(), error) {
			if value := kept; value != 0 {
				kept = 0
				return value, true, func() {}, nil
			}
			a, ok, done, err := receive(ctx)
			if !ok || err != nil {
				return 0, false, nil, err
			}
			b, ok, next, err := receive(atOnce)
			if !ok || err != nil {
				return a, true, done, err
			}
			done()
			kept = a
			return b, true, next, nil
		}
	},
	"delivers a message twice": func(receive receiveFunc) receiveFunc {
		last := 0
		return func(ctx context.Context) (int, bool, func(), error) {
			if value := last; value != 0 {
				last = 0
				return value, true, func() {}, nil
			}
			value, ok, done, err := receive(ctx)
			last = value
			return value, ok, done, err
		}
	},
	"drops a message": func(receive receiveFunc) receiveFunc {
		return func(ctx context.Context) (int, bool, func(), error) {
			_, ok, done, err := receive(atOnce)
			if err != nil {
				return 0, false, nil, err
			}
			if ok {
				done()
			}
			return receive(ctx)
		}
	},
	"hides a message": func(receive receiveFunc) receiveFunc {
		n := 0
		return func(ctx context.Context) (int, bool, func(), error) {
			if n++; n%2 == 1 {
				return 0, false, nil, nil
			}
			return receive(ctx)
		}
	},
}
