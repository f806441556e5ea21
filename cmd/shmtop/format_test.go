package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 7: "7", 99_999: "99999", 100_000: "100k", 412_345: "412k", 999_499: "999k", 999_500: "1.00M",
		1_048_576: "1.05M", 412_700_000: "413M", 5_000_000_000: "5.00G", math.MaxUint64: "18.4E",
	} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", -1: "0", 0.04: "<0.1", 0.25: "0.2", 1: "1", 3.16: "3.2", 9.94: "9.9", 9.95: "10", 99.6: "100", 996: "996",
		999.5: "1.00k", 3440: "3.44k", 78_700: "78.7k", 412_000: "412k", 1_420_000: "1.42M", 1e30: "1000000000Z",
	} {
		if got := rate(v); got != want {
			t.Errorf("rate(%v) = %q, want %q", v, got, want)
		}
	}
	if got := rate(math.NaN()); got != "-" {
		t.Errorf("not known: %q", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "0 B", 0: "0 B", 512: "512 B", 1024: "1.0 KiB", 938 << 10: "938 KiB", 6_900_000: "6.6 MiB", 16 << 20: "16.0 MiB",
		1<<30 - 1: "1.0 GiB", math.MaxInt64: "8.0 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "-", -1: "-", 1: "0.0us", 1500: "1.5us", 70 * time.Microsecond: "70us", 2149 * time.Microsecond: "2.1ms",
		41 * time.Millisecond: "41ms", 999 * time.Millisecond: "999ms", 1200 * time.Millisecond: "1.2s", 59999 * time.Millisecond: "59.9s",
		62 * time.Second: "1m02", time.Hour - 1: "59m59", 134 * time.Minute: "2h14", 49 * time.Hour: "2d", math.MaxInt64: ">999d",
	} {
		if got := age(d); got != want || len(got) > 5 {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestUptime(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "00:00:00", 62 * time.Second: "00:01:02", 26 * time.Hour: "1d 02:00:00",
	} {
		if got := uptime(d); got != want {
			t.Errorf("uptime(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		100 * time.Millisecond: "100 ms", time.Second: "1 s", 2500 * time.Millisecond: "2.5 s", 90 * time.Second: "90 s", 13 * time.Minute: "13 min",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"orders/book": "orders/book", "naïve 日本": "naïve 日本", "a\x1b[31mb\n": "a?[31mb?", "\xff\x00": "??", "a\u202eb\u200dc\u009b": "a?b?c?",
	} {
		if got := printable(s); got != want {
			t.Errorf("printable(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for s, want := range map[string]string{
		"orders/book": "orders/book", "": `""`, "two words": `"two words"`, `a"b`: `"a\"b"`, "a\nb": `"a\nb"`, "日本": "日本",
	} {
		if got := quoted(s); got != want {
			t.Errorf("quoted(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestCutAndPad(t *testing.T) {
	for _, c := range []struct {
		s, mark string
		width   int
		want    string
	}{
		{"abcdef", "…", 6, "abcdef"},
		{"abcdef", "…", 5, "abcd…"},
		{"abcdef", "~", 1, "~"},
		{"abcdef", "~", 0, ""},
		{"日本語", "…", 5, "日本…"},
		{"日本語", "…", 4, "日…"},
		{"日本語", "", 3, "日"},
		{strings.Repeat("é", 9), "…", 4, "ééé…"},
	} {
		got := cut(c.s, c.width, c.mark)
		if got != c.want || width(got) > c.width {
			t.Errorf("cut(%q, %d) = %q, want %q", c.s, c.width, got, c.want)
		}
		for _, left := range []bool{true, false} {
			if p := pad(got, c.width, left); width(p) != c.width || !strings.Contains(p, got) {
				t.Errorf("pad(%q, %d) = %q", got, c.width, p)
			}
		}
	}
}

func TestCutFront(t *testing.T) {
	for _, c := range []struct {
		s     string
		width int
		want  string
	}{
		{"worker-1", 8, "worker-1"}, {"worker-1", 5, "…er-1"}, {"worker-1", 1, "…"}, {"worker-1", 0, ""}, {"日本語", 4, "…語"},
	} {
		if got := cutFront(c.s, c.width, "…"); got != c.want {
			t.Errorf("cutFront(%q, %d) = %q, want %q", c.s, c.width, got, c.want)
		}
	}
}

func TestBar(t *testing.T) {
	th := newTheme(true, false)
	for part, want := range map[float64]string{
		-1: "........", 0: "........", 0.0001: "=.......", 0.0625: "=.......", 0.125: "#.......", 0.5: "####....", 0.99: "#######=", 1: "########", 7: "########",
	} {
		if got := th.bar(part, 8); got != want {
			t.Errorf("bar(%v) = %q, want %q", part, got, want)
		}
	}
}

func TestSparkline(t *testing.T) {
	th := newTheme(true, false)
	for _, c := range []struct {
		values []float32
		want   string
	}{
		{nil, "     "},
		{[]float32{0, 0}, "     "},
		{[]float32{1}, "    *"},
		{[]float32{0, 1, 2, 4, 8}, "__.:*"},
		{[]float32{8, 8, 8, 8, 8, 8, 1}, "****_"},
	} {
		if got := th.sparkline(c.values, 5); got != c.want {
			t.Errorf("sparkline(%v) = %q, want %q", c.values, got, c.want)
		}
	}
}
