package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // hours name time zones, and a small container has none
)

// hours are windows of the week. It is enough if the time is in one of them.
type hours []window

// window is a period in each week, from its first minute to the minute that
// it ends before. Both are counted from Monday 00:00. The end of a window
// that spans the end of the week is smaller than its start.
type window struct {
	start, end int
	zone       *time.Location
}

const (
	minutesADay  = 24 * 60
	minutesAWeek = 7 * minutesADay
)

var weekdays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// parseHours reads windows such as "Mon-Fri 06:00-20:00 Europe/Berlin", several
// separated by commas. Days or times may be left out: all of them are meant. A window
// without a time zone has the time zone of the next window, and the last one has that of
// the server. A text that can be read in two ways is refused: "Mon, Wed 08:00-10:00" can
// mean all of Monday, and "Mon-Fri 08:00-12:00, 13:00-17:00" an afternoon of the
// weekend.
func parseHours(s string) (hours, error) {
	parts := strings.Split(s, ",")
	var all hours
	zone := time.Local
	var next []string // the words of the next part
	for _, part := range slices.Backward(parts) {
		windows, z, err := parseWindow(part, zone)
		if err != nil {
			return nil, err
		}
		words := strings.Fields(part)
		switch {
		case next == nil || isTime(words[0]): // without days it is every day
		case isTime(next[0]):
			return nil, fmt.Errorf("%q has no days, and what precedes it has some: add the same, or Mon-Sun for every day", next[0])
		case len(words) == 1 && len(next) > 1 && isTime(next[1]):
			return nil, fmt.Errorf("%q has no time, and what follows has one: add the same, or 00:00-24:00 for the whole day", words[0])
		}
		next = words
		all = append(all, windows...)
		zone = z
	}
	return all, nil
}

// parseWindow reads one part, which may be a window on each of several days.
func parseWindow(part string, zone *time.Location) (hours, *time.Location, error) {
	first, last := 0, len(weekdays)-1
	from, to := 0, minutesADay
	words := strings.Fields(part)
	if len(words) == 0 {
		return nil, nil, errors.New("days, a time or both are missing")
	}
	given := 0
	if f, l, ok := parseDays(words[0]); ok {
		first, last = f, l
		words, given = words[1:], given+1
	}
	if len(words) > 0 && isTime(words[0]) {
		var err error
		if from, to, err = parseTimes(words[0]); err != nil {
			return nil, nil, err
		}
		words, given = words[1:], given+1
	}
	if len(words) > 0 && given > 0 {
		loc, err := time.LoadLocation(words[0])
		if err != nil {
			return nil, nil, fmt.Errorf("%q is not a time zone", words[0])
		}
		zone, words = loc, words[1:]
	}
	if len(words) > 0 {
		return nil, nil, fmt.Errorf("%q is not understood", words[0])
	}
	if to <= from { // until the next day
		to += minutesADay
	}
	var all hours
	for i := range (last-first+len(weekdays))%len(weekdays) + 1 { // over the end of the week if last is before first
		day := (first + i) % len(weekdays) * minutesADay
		all = append(all, window{(day + from) % minutesAWeek, (day + to) % minutesAWeek, zone})
	}
	return all, zone, nil
}

// isTime reports whether a word must be a time, and neither days nor a time zone.
func isTime(word string) bool { return word[0] >= '0' && word[0] <= '9' }

func parseDays(s string) (first, last int, ok bool) {
	from, to, several := strings.Cut(strings.ToLower(s), "-")
	if !several {
		to = from
	}
	first, last = slices.Index(weekdays, from), slices.Index(weekdays, to)
	return first, last, first >= 0 && last >= 0
}

func parseTimes(s string) (from, to int, err error) {
	a, b, found := strings.Cut(s, "-")
	from, okA := parseClock(a)
	to, okB := parseClock(b)
	if !found || !okA || !okB || from == minutesADay || from == to {
		return 0, 0, fmt.Errorf("%q is not a time of the day such as 06:00-20:00", s)
	}
	return from, to, nil
}

// parseClock reads hours and minutes, up to 24:00.
func parseClock(s string) (minute int, ok bool) {
	if s == "24:00" {
		return minutesADay, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil
}

func (h hours) hold(t time.Time) bool {
	return slices.ContainsFunc(h, func(w window) bool {
		m := minuteOfWeek(t.In(w.zone))
		if w.start < w.end {
			return w.start <= m && m < w.end
		}
		return m >= w.start || m < w.end
	})
}

// minuteOfWeek counts from Monday 00:00 on the clock of t's time zone.
func minuteOfWeek(t time.Time) int {
	day := (int(t.Weekday()) + 6) % 7
	return day*minutesADay + t.Hour()*60 + t.Minute()
}

// next returns when the result of hold changes next, to the minute; zero if it never
// changes.
func (h hours) next(t time.Time) time.Time {
	now := h.hold(t)
	var next time.Time
	for _, w := range h {
		for _, at := range w.edges(t) {
			if at.After(t) && (next.IsZero() || at.Before(next)) && h.hold(at) != now {
				next = at
			}
		}
	}
	return next
}

// edges returns the times in the week from t at which w may begin or end: its
// edges by each offset of the clock within that time, and the changes of that
// offset.
func (w window) edges(t time.Time) []time.Time {
	local := t.In(w.zone)
	minute := local.Truncate(time.Minute)
	at := minuteOfWeek(local)
	_, offset := local.Zone()
	offsets := []int{offset}
	var edges []time.Time
	if _, change := local.ZoneBounds(); !change.IsZero() && change.Sub(t) <= 8*24*time.Hour {
		_, later := change.In(w.zone).Zone()
		offsets = append(offsets, later)
		edges = append(edges, change)
	}
	for _, edge := range []int{w.start, w.end} {
		ahead := (edge - at + minutesAWeek) % minutesAWeek
		for _, o := range offsets {
			e := minute.Add(time.Duration(ahead)*time.Minute + time.Duration(offset-o)*time.Second)
			edges = append(edges, e, e.Add(7*24*time.Hour)) // the first may have passed
		}
	}
	return edges
}
