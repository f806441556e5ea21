package shm

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestOptionsDefaults(t *testing.T) {
	g, err := Options{}.geometry()
	must(t, err)
	if g.processes != 64 || g.mailboxes != 4096 || g.ringWords != 4096*64 || g.spans != 192 || g.maxMessage != 1<<20 {
		t.Errorf("defaults: %+v", g)
	}
	if g.size < 14<<20 || g.size > 18<<20 {
		t.Errorf("the default segment has %d bytes, want about 16 MiB", g.size)
	}
	size, err := Options{}.Size()
	if err != nil || size != g.size {
		t.Errorf("Size: %d, %v, want %d", size, err, g.size)
	}
	big, err := Options{MaxMessage: 16 << 20}.geometry()
	must(t, err)
	if big.spans*spanSize < 4*(16<<20) {
		t.Errorf("%d spans do not hold four of the largest messages", big.spans)
	}
}

// What Options promises about the size, with the rounding of its tables to whole pages and of ready bits to cache lines.
func TestOptionsSizeFormula(t *testing.T) {
	for _, o := range []Options{
		{},
		{Processes: 1, Mailboxes: 1, MessageBytes: 1, MaxMessage: 1},
		{Processes: 7, Mailboxes: 1000, RingBytes: 1 << 20, MessageBytes: 5 << 20, MaxMessage: 1 << 20},
		{Processes: 1024, Mailboxes: 65_536, MessageBytes: 1 << 30},
		{Mailboxes: 100_000, RingBytes: 100_000 * 64, MessageBytes: 64 << 20},
	} {
		t.Run(fmt.Sprintf("%d/%d", o.Processes, o.Mailboxes), func(t *testing.T) {
			g, err := o.geometry()
			must(t, err)
			p, m := float64(g.processes), float64(g.mailboxes)
			fixed := p*(768+m/8) + m*(128+384) + float64(g.ringWords*wordSize)
			messages := float64(g.spans * spanSize)
			low := fixed + 16*m + messages*1.041
			high := fixed + 32*max(m, 4) + messages*1.043 + 10*pageSize + p*(64+m/64)
			if size := float64(g.size); size < low || size > high {
				t.Errorf("%v bytes, want %v to %v", size, low, high)
			}
		})
	}
}

// The tables follow each other, start on pages and do not overlap.
func TestGeometryTables(t *testing.T) {
	for _, o := range []Options{{}, small(), {Processes: 1, Mailboxes: 1}, {Processes: 1024, Mailboxes: 33_333, RingBytes: 8}} {
		g, err := o.geometry()
		must(t, err)
		end := int64(headerSize)
		for _, table := range []struct {
			name      string
			off, size int64
		}{
			{"processes", g.processOff, g.processes * procWords * 8},
			{"ready", g.readyOff, g.processes * g.readyWords * 8},
			{"index", g.indexOff, g.indexSlots * 8},
			{"names", g.nameOff, g.mailboxes * nameRecord},
			{"mailboxes", g.mailboxOff, g.mailboxes * MailboxWords * 8},
			{"rings", g.ringOff, g.ringWords * 8},
			{"spans", g.spanOff, g.spans * 8},
			{"owners", g.ownerOff, g.spans * framesPerSpan * 8},
			{"frames", g.frameOff, g.spans * spanSize},
		} {
			if table.off%pageSize != 0 || table.off < end || table.off-end >= pageSize {
				t.Errorf("%s at %d, after %d", table.name, table.off, end)
			}
			end = table.off + table.size
		}
		if g.size < end || g.size-end >= pageSize {
			t.Errorf("size %d, the last table ends at %d", g.size, end)
		}
		if g.indexSlots < 2*g.mailboxes || g.indexSlots&(g.indexSlots-1) != 0 {
			t.Errorf("%d index slots for %d mailboxes", g.indexSlots, g.mailboxes)
		}
		if g.readySummary*64 < (g.mailboxes+63)/64 || g.readyWords-g.readySummary < (g.mailboxes+63)/64 {
			t.Errorf("%d+%d ready words for %d mailboxes", g.readySummary, g.readyWords-g.readySummary, g.mailboxes)
		}
	}
}

// Every option that is out of its bounds is refused, and the error names it.
func TestOptionsBad(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Processes: -1}, "Processes"},
		{Options{Processes: MaxProcesses + 1}, "Processes"},
		{Options{Mailboxes: -1}, "Mailboxes"},
		{Options{Mailboxes: MaxMailboxes + 1}, "Mailboxes"},
		{Options{Mailboxes: math.MaxInt}, "Mailboxes"},
		{Options{RingBytes: -1}, "RingBytes"},
		{Options{RingBytes: -8}, "RingBytes"},
		{Options{RingBytes: math.MaxInt64}, "RingBytes"},
		{Options{MessageBytes: -1}, "MessageBytes"},
		{Options{MessageBytes: math.MinInt64}, "MessageBytes"},
		{Options{MessageBytes: math.MaxInt64}, "MessageBytes"},
		{Options{MessageBytes: 1 << 50}, "MessageBytes"},
		{Options{MaxMessage: -1}, "MaxMessage"},
		{Options{MaxMessage: math.MaxInt64}, "MaxMessage"},
		{Options{MaxMessage: 1 << 20, MessageBytes: 2<<20 - spanSize}, "MessageBytes"},
		{Options{Name: strings.Repeat("n", 65)}, "name"},
	} {
		_, err := c.o.Size()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error that names %s", c.o, err, c.want)
		}
		if _, again := Create(c.o); again == nil {
			t.Errorf("%+v: created", c.o)
		}
	}
	if _, err := (Options{Name: strings.Repeat("n", 65)}).Size(); !errors.Is(err, ErrBadName) {
		t.Errorf("a long name: %v", err)
	}
}

// Heap memory is aligned as a mapping is.
func TestHeapMemoryIsAligned(t *testing.T) {
	for _, size := range []int64{pageSize, 3 * pageSize, 1 << 20} {
		m := heapMemory(size)
		if int64(len(m)) != size || addressOf(m)%pageSize != 0 {
			t.Errorf("%d bytes at %x, want %d on a page", len(m), addressOf(m), size)
		}
	}
}
