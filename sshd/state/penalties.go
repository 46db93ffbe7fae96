package state

import (
	"container/heap"
	"net/netip"
	"slices"
	"time"
)

// A Penalty is that of a source, as an operator sees it.
type Penalty struct {
	Source  netip.Prefix  `json:"source"`
	Left    time.Duration `json:"left_ns"`  // until it is over
	KeptOut bool          `json:"kept_out"` // it has reached the minimum
}

// A penalty is that of a source. It ends at a time.
type penalty struct {
	HeldPenalty
	index int // in the heap
}

// penalties are those of all sources, in a heap: the one that is over first
// is at the top.
type penalties struct {
	of   map[netip.Prefix]*penalty
	heap []*penalty
}

// until returns the time until which source is kept out; zero if it is not.
func (p *penalties) until(source netip.Prefix) time.Time {
	if held, ok := p.of[source]; ok && held.KeptOut {
		return held.Until
	}
	return time.Time{}
}

// add adds d to the penalty of source. When there is no room for one more source,
// the one whose penalty is over first is forgiven.
func (p *penalties) add(source netip.Prefix, d time.Duration, s *Settings, now time.Time) {
	p.forget(now)
	until := now
	if held, ok := p.of[source]; ok {
		until = held.Until
	}
	until = until.Add(d)
	if longest := now.Add(s.Penalties.Max); until.After(longest) {
		until = longest
	}
	p.hold(HeldPenalty{source, until, until.Sub(now) >= s.Penalties.Min}, s.MaxSources, now)
}

// hold gives a source at least the penalty more.
func (p *penalties) hold(more HeldPenalty, maxSources int, now time.Time) {
	p.forget(now)
	held, ok := p.of[more.Source]
	if !ok {
		for len(p.heap) >= maxSources {
			p.drop()
		}
		held = &penalty{HeldPenalty: more}
		p.of[more.Source] = held
		heap.Push(p, held)
	}
	if more.Until.After(held.Until) {
		held.Until = more.Until
	}
	held.KeptOut = held.KeptOut || more.KeptOut
	heap.Fix(p, held.index)
}

// forget drops penalties that are over.
func (p *penalties) forget(now time.Time) {
	for len(p.heap) > 0 && !p.heap[0].Until.After(now) {
		p.drop()
	}
}

func (p *penalties) drop() {
	delete(p.of, heap.Pop(p).(*penalty).Source)
}

// lift drops the penalties of the sources that match, and returns these.
func (p *penalties) lift(matches func(netip.Prefix) bool) []netip.Prefix {
	var lifted []netip.Prefix
	for source := range p.of {
		if matches(source) {
			lifted = append(lifted, source)
		}
	}
	for _, source := range lifted {
		heap.Remove(p, p.of[source].index)
		delete(p.of, source)
	}
	slices.SortFunc(lifted, netip.Prefix.Compare)
	return lifted
}

// The methods of heap.Interface.

func (p *penalties) Len() int           { return len(p.heap) }
func (p *penalties) Less(i, j int) bool { return p.heap[i].Until.Before(p.heap[j].Until) }

func (p *penalties) Swap(i, j int) {
	p.heap[i], p.heap[j] = p.heap[j], p.heap[i]
	p.heap[i].index, p.heap[j].index = i, j
}

func (p *penalties) Push(x any) {
	held := x.(*penalty)
	held.index = len(p.heap)
	p.heap = append(p.heap, held)
}

func (p *penalties) Pop() any {
	last := len(p.heap) - 1
	held := p.heap[last]
	p.heap = slices.Delete(p.heap, last, last+1) // which clears the place
	return held
}
