package audit

import (
	"context"
	"errors"
	"fmt"
	"os"

	"berth/sshd/event"
)

// A receiver may refuse a batch because of one event in it, such as one whose text is
// longer than it takes. Nobody could say which, and all later events would wait. Or it
// refuses everything, because its address or its settings are wrong. So the lines are
// sent one by one. Those that were refused are set aside if another one was accepted.

// sift sends lines one by one, and sets aside those that the receiver refuses. They are
// sent twice: a receiver whose settings were corrected meanwhile accepts them now.
func (w *Forwarder) sift(ctx context.Context, lines []entry) error {
	refused, why, err := w.oneByOne(ctx, lines)
	if err != nil {
		return err
	}
	if len(refused) == len(lines) {
		return why
	}
	if refused, why, err = w.oneByOne(ctx, refused); err != nil {
		return err
	}
	return w.setAside(refused, why)
}

// oneByOne returns which lines the receiver refuses, and why.
func (w *Forwarder) oneByOne(ctx context.Context, lines []entry) (refused []entry, why, err error) {
	for _, e := range lines {
		err := w.to.send(ctx, []entry{e})
		if errors.Is(err, errRefused) || errors.Is(err, errTooLarge) {
			refused, why = append(refused, e), err
		} else if err != nil {
			return nil, nil, err
		}
	}
	return refused, why, nil
}

// leastSifted is how many lines are sent one by one, if there are so many. A batch may have
// one line, or one that the receiver wants.
const leastSifted = 100

// more reads further lines if the batch has few that the receiver wants: perhaps it takes
// one of those. Lines that the receiver does not want are not kept, however many there
// are.
func (w *Forwarder) more(ctx context.Context) error {
	for len(w.chosen(w.batch)) < leastSifted && ctx.Err() == nil {
		lines, err := w.lines.read(max(w.most, leastSifted))
		if err != nil || len(lines) == 0 {
			return err
		}
		w.batch = append(w.chosen(w.batch), lines...)
		if err := w.lines.sync(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// mostRefused is how many bytes of refused events are kept, and once more in a file
// with ".1" at its end.
const mostRefused = 16 << 20

// setAside writes lines to the file of those that were refused, and emits an event.
func (w *Forwarder) setAside(lines []entry, why error) error {
	if len(lines) == 0 {
		return nil
	}
	path := w.file + "." + w.kind + ".refused"
	if info, err := os.Stat(path); err == nil && info.Size() >= mostRefused {
		if err := os.Rename(path, path+".1"); err != nil {
			return fmt.Errorf("set refused events aside: %w", err)
		}
	}
	var text []byte
	tell := false // no further event when the event about refused events is itself refused
	for _, e := range lines {
		text = append(append(text, e.line...), '\n')
		tell = tell || member(e.line, "type") != event.EventsRefused.String()
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("set refused events aside: %w", err)
	}
	w.mu.Lock()
	w.refused += uint64(len(lines))
	w.mu.Unlock()
	w.log.Error("events were refused and set aside", "to", w.name, "count", len(lines), "file", path, "error", why)
	if tell {
		w.emit(event.Event{Type: event.EventsRefused, Err: why, Fields: map[string]string{"count": fmt.Sprint(len(lines)), "sink": w.kind}})
	}
	return nil
}
