//go:build shmactor_points

package explore

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/shmactor/shmactor/internal/word"
)

// Bounds is how far a scenario is explored.
type Bounds struct {
	Preemptions int           // switches away from an actor that could go on
	Deaths      int           // of mortal processes, in all
	Schedules   int           // at most so many, 0 for all
	Time        time.Duration // at most so long, 0 for as long as it takes
	Seed        uint64        // not 0: schedules by chance instead of all of them, as many as Schedules and Time allow
}

// Result is what an exploration found.
type Result struct {
	Schedules int   // run to their end
	Pruned    int   // left where they met a state that was known
	States    int   // decided upon
	Points    int   // accesses to shared words
	Complete  bool  // every schedule within the bounds was run or pruned
	Wrong     error // the first violation
	Path      string
	Trace     []string // of the schedule that ended in it
}

// decision is one choice of a schedule.
type decision struct {
	options int
	sign    uint64 // of what they were
	taken   int
	where   moment // when it was made
	what    string // was taken
}

// moment is a point of a schedule: who is there, or was the last that ran, and after how many of its own accesses. It is the same
// however many accesses to words that nobody else touches others have made meanwhile.
type moment struct {
	actor string
	count int
}

func (p moment) String() string { return fmt.Sprintf("%s@%d", p.actor, p.count) }

// option is one way on.
type option struct {
	run  *actor
	kill string
	cost int
}

func (o option) String() string {
	switch {
	case o.run != nil:
		return ">" + o.run.name
	case o.kill != "":
		return "!" + o.kill
	}
	return "="
}

// search is the state of an exploration between schedules.
type search struct {
	bounds Bounds
	path   []decision
	moves  map[string]string // of a schedule that is run again, by moment; nil in a search
	chance *rand.Rand
	rarely int // by chance, one in so many decisions is another than to go on
	seen   map[uint64][]budget
	names  map[uint64]uint64 // bit of each actor, by the hash of its name
	words  wordTable
	grown  bool // somebody touched a word of whom that was not known when the search began
	points int
}

// touched says which actors touch a word, and which write to it.
type touched struct {
	all, writers           uint64 // known when the search began
	allSoFar, writersSoFar uint64
}

// shared reports whether more than one actor touches the word, and one changes it.
func (w *touched) shared() bool { return w.writers != 0 && several(w.all) }

// several reports whether bits are, or may be, those of more than one actor.
func several(bits uint64) bool { return bits&(bits-1) != 0 || bits&lateBit != 0 }

// against are the actors with whose accesses one of this kind does not commute, beside who makes it.
func (w *touched) against(op word.Op) uint64 {
	if op == word.Load {
		return w.writers
	}
	return w.all
}

// wordTable is what is known of each word, by its address.
type wordTable struct {
	pages map[int]*[pageWords]touched
	last  *[pageWords]touched
	at0   int
}

const (
	pageWords = 512
	farBelow  = 1 << 40 // so that no index is negative
)

func (t *wordTable) at(place int) *touched {
	n := place/8 + farBelow
	if page := n / pageWords; t.last == nil || page != t.at0 {
		if t.pages[page] == nil {
			t.pages[page] = new([pageWords]touched)
		}
		t.last, t.at0 = t.pages[page], page
	}
	return &t.last[n%pageWords]
}

// lateBit is shared by actors that come very late.
const lateBit = 1 << 63

// bit is one bit for each name of an actor.
func (s *search) bit(name uint64) uint64 {
	b, ok := s.names[name]
	if !ok {
		b = 1 << min(len(s.names), 63)
		s.names[name] = b
	}
	return b
}

// Explore runs a scenario under all schedules within the bounds. build makes one schedule: the shared memory, alike each time,
// and the actors. Only one of them runs at a time, so that a second processor would only make each hand-over a call of the kernel:
// meanwhile the process has one.
func Explore(t *testing.T, b Bounds, build func(r *Run)) Result {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	s := newSearch(b, nil)
	var res Result
	end := time.Now().Add(b.Time)
	done := func() bool {
		return b.Schedules > 0 && res.Schedules+res.Pruned >= b.Schedules || b.Time > 0 && time.Now().After(end)
	}
	if b.Seed != 0 {
		return s.sum(s.wander(t, build, &res, b.Seed, done))
	}
	// Where an access commutes with all that others may do, nobody else need go on in front of it. Who touches which word shows on
	// the way: some schedules by chance tell most of it, and when there turns out to be more, all begins again.
	before := res
	if s.wander(t, build, &res, 1, func() bool { return res.Schedules >= scouts || done() }); res.Wrong != nil {
		return s.sum(&res)
	}
	res, s.chance = before, nil
	for s.grown = true; s.grown; {
		s.begin()
		for n, until := 0, math.MaxInt; n < until; n++ {
			if done() {
				return s.sum(&res)
			}
			r := s.run(t, build, nil)
			if r.wrong != nil {
				return s.sum(s.explain(t, build, &res, r))
			}
			if r.pruned {
				res.Pruned++
			} else {
				res.Schedules++
			}
			if s.grown && until == math.MaxInt {
				until = 2 * n // there may be more to learn not far from here
			}
			if !s.next() {
				break
			}
		}
	}
	res.Complete = true
	return s.sum(&res)
}

// scouts is how many schedules by chance come before a search.
var scouts = 1000

func newSearch(b Bounds, moves map[string]string) *search {
	return &search{bounds: b, words: wordTable{pages: map[int]*[pageWords]touched{}}, names: map[uint64]uint64{}, moves: moves}
}

// begin begins the search with what is known of the words.
func (s *search) begin() {
	s.grown, s.path, s.seen = false, nil, map[uint64][]budget{}
	for _, page := range s.words.pages {
		for i := range page {
			page[i].all, page[i].writers = page[i].allSoFar, page[i].writersSoFar
		}
	}
}

// wander runs schedules by chance; each can be run again from its own seed.
func (s *search) wander(t *testing.T, build func(r *Run), res *Result, seed uint64, done func() bool) *Result {
	for ; !done(); seed++ {
		s.path = s.path[:0]
		s.chance = rand.New(rand.NewPCG(seed, 0))
		s.rarely = 8 << s.chance.IntN(7) // or all would happen at the beginning
		if r := s.run(t, build, nil); r.wrong != nil {
			return s.explain(t, build, res, r)
		}
		res.Schedules++
	}
	return res
}

// Replay runs the one schedule that a path names, and returns its trace.
func Replay(t *testing.T, b Bounds, build func(r *Run), path string) Result {
	moves, err := parsePath(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newSearch(b, moves)
	return *s.again(t, build, &Result{Path: path})
}

func (s *search) sum(res *Result) Result {
	res.States, res.Points = len(s.seen), s.points
	return *res
}

// explain runs the schedule that went wrong once more and keeps its trace.
func (s *search) explain(t *testing.T, build func(r *Run), res *Result, bad *Run) *Result {
	res.Path = formatPath(s.path)
	s.moves, _ = parsePath(res.Path)
	if s.again(t, build, res); res.Wrong == nil {
		res.Wrong = fmt.Errorf("%w; the same schedule ended well when it was run again", bad.wrong)
	}
	return res
}

// again runs the schedule of s.moves.
func (s *search) again(t *testing.T, build func(r *Run), res *Result) *Result {
	r := s.run(t, build, func(format string, args ...any) { res.Trace = append(res.Trace, fmt.Sprintf(format, args...)) })
	res.Wrong = r.wrong
	return res
}

// run runs one schedule: the path as far as it goes, then the first option of each decision.
func (s *search) run(t *testing.T, build func(r *Run), trace func(string, ...any)) (r *Run) {
	r = &Run{
		search: s, byLabel: map[unsafe.Pointer]*actor{}, mortal: map[string]int{}, onDeath: map[string]func(){},
		held: map[*word.Mutex]*actor{}, orders: map[*word.Mutex]order{},
		preemptions: s.bounds.Preemptions, deaths: s.bounds.Deaths, trace: trace,
	}
	word.Trace(r)
	synctest.Test(t, func(*testing.T) { r.walk(build) })
	word.Trace(nil)
	return r
}

// next turns to the next path; it is false when there is none.
func (s *search) next() bool {
	for n := len(s.path) - 1; n >= 0; n-- {
		if d := &s.path[n]; d.taken+1 < d.options {
			d.taken++
			s.path = s.path[:n+1]
			return true
		}
	}
	return false
}

// touch notes an access. It reports whether the word is shared, and with the accesses of which actors this one does not commute. By
// chance, and when a schedule is run again, every word is, and does not with any.
func (s *search) touch(a *actor, op word.Op, place int) (shared bool, against uint64) {
	s.points++
	w := s.words.at(place)
	if w.allSoFar&a.bit == 0 || op != word.Load && w.writersSoFar&a.bit == 0 {
		w.allSoFar |= a.bit
		if op != word.Load {
			w.writersSoFar |= a.bit
		}
		s.grown = s.grown || several(w.allSoFar) && w.writersSoFar != 0
	}
	if s.moves != nil || s.chance != nil {
		return true, ^uint64(0)
	}
	return w.shared(), w.against(op) &^ (a.bit &^ lateBit)
}

// decide chooses how to go on, and does it. self is the actor that is at a point, nil when nobody runs. It returns who goes
// on, nil if nobody does.
func (r *Run) decide(self *actor) *actor {
	if self == nil && r.last != nil {
		r.last.count++ // it was at its point already
	}
	options := r.options(self)
	if len(options) == 0 {
		r.quiet()
		r.switchTo(nil)
		return nil
	}
	o := options[0]
	if len(options) > 1 {
		i, ok := r.choose(self, options)
		if !ok {
			r.over = true
			r.switchTo(nil)
			return nil
		}
		o = options[i]
	}
	r.preemptions -= o.cost
	switch {
	case o.kill != "":
		r.kill(o.kill)
		r.switchTo(nil)
		return nil
	case o.run == nil:
		r.quiet()
		r.switchTo(nil)
		return nil
	case o.run == self:
		r.last = self
		return self
	}
	r.switchTo(o.run)
	return o.run
}

// options lists how it could go on, the cheapest first.
func (r *Run) options(self *actor) (list []option) {
	for _, a := range r.actors {
		if a != self && a.bell && a.canRun() && r.alone(a) {
			return []option{{run: a}}
		}
	}
	if self != nil {
		list = append(list, option{run: self})
	}
	for _, a := range r.actors {
		if a == self || !a.canRun() {
			continue
		}
		if self == nil {
			list = append(list, option{run: a})
		} else if r.preemptions > 0 && self.meets {
			list = append(list, option{run: a, cost: 1})
		}
	}
	// A death shows only in what the process does not do any more: it matters in front of a change, and at the end.
	at := self
	if at == nil {
		at = r.last
	}
	if at != nil && r.deaths > 0 && r.mortal[at.process] > 0 && (self == nil || self.op != word.Load) {
		if len(list) == 0 {
			list = append(list, option{}) // to end
		}
		list = append(list, option{kill: at.process})
	}
	return list
}

// alone reports whether nobody else is left in the process of a bell. What it does then is of no concern to anybody, and it
// does it at once.
func (r *Run) alone(bell *actor) bool {
	for _, a := range r.actors {
		if a != bell && a.process == bell.process && !a.ended {
			return false
		}
	}
	return true
}

// quiet is called when nobody can go on: all have ended, or somebody waits for ever.
func (r *Run) quiet() {
	r.over = true
	for _, a := range r.actors {
		if !a.ended && !a.dead && !a.daemon {
			r.Fail("%s waits for ever", a.name)
		}
	}
}

// choose makes the decision; ok is false when all that follows is known.
func (r *Run) choose(self *actor, options []option) (i int, ok bool) {
	s := r.search
	var sign uint64
	for _, o := range options {
		sign = mix(sign, hashString(o.String()))
	}
	var where moment
	if r.last != nil {
		where = moment{r.last.name, r.last.count}
	}
	if s.moves != nil {
		move := s.moves[where.String()]
		return max(0, slices.IndexFunc(options, func(o option) bool { return o.String() == move })), true
	}
	n := r.depth
	r.depth++
	if n < len(s.path) && s.chance == nil {
		d := &s.path[n]
		if d.sign != sign || d.where != where {
			r.Fail("%v is not as %v was when it is run again: something else than the choices decides", where, d.where)
			d.taken = 0
		}
		d.what = options[d.taken].String()
		return d.taken, true
	}
	switch {
	case s.chance != nil:
		i = 0
		if self == nil || s.chance.IntN(s.rarely) == 0 {
			i = s.chance.IntN(len(options))
		}
	default:
		key := r.state(self)
		left := budget{uint8(r.preemptions), uint8(r.deaths)}
		if slices.ContainsFunc(s.seen[key], left.within) {
			r.pruned = true
			return 0, false
		}
		s.seen[key] = append(s.seen[key], left)
	}
	s.path = append(s.path, decision{len(options), sign, i, where, options[i].String()})
	return i, true
}

// budget is what is left of the bounds.
type budget struct{ preemptions, deaths uint8 }

// within reports whether all that b allows was allowed.
func (b budget) within(was budget) bool {
	return b.preemptions <= was.preemptions && b.deaths <= was.deaths
}

// state is a hash of all that decides what can follow, but for what is left of the bounds.
func (r *Run) state(self *actor) uint64 {
	h := r.memory
	if self != nil {
		h = mix(h, self.id)
	}
	if r.last != nil {
		h = mix(h, hashString(r.last.process))
	}
	for _, a := range r.actors {
		var flags uint64
		for i, on := range []bool{a.parked, a.sleeps != nil, a.lock != nil, a.ended, a.dead} {
			if on {
				flags |= 1 << i
			}
		}
		done := a.notes // nothing else of one that has ended matters
		if !a.ended && !a.dead {
			done = mix(done, mix(a.history, mix(uint64(r.place(a.addr)), uint64(a.op))))
		}
		h ^= mix(mix(a.id, done), flags)
	}
	for p, n := range maps.All(r.mortal) {
		h ^= mix(hashString(p), uint64(n))
	}
	return h
}

// formatPath writes the choices that were not the first option: where, and ">" the actor that goes on, "!" the process that dies,
// or "=" when nobody does either.
func formatPath(path []decision) string {
	var out []string
	for _, d := range path {
		if d.taken != 0 {
			out = append(out, d.where.String()+d.what)
		}
	}
	return strings.Join(out, " ")
}

func parsePath(text string) (map[string]string, error) {
	moves := map[string]string{}
	for _, part := range strings.Fields(text) {
		at := strings.IndexAny(part, ">!=")
		if at < 0 || !strings.Contains(part[:at], "@") {
			return nil, fmt.Errorf("the path %q: what is %q?", text, part)
		}
		moves[part[:at]] = part[at:]
	}
	return moves, nil
}
