package mailbox

type stats struct{ N int }

func (a *agent) callers(o order) answer { return answer{} }
func (a *agent) serve(o order) answer   { return answer{} }
