package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"berth/sshd/event"
)

// An output is standard output. A command whose output is not complete must not exit with 0.
type output struct {
	file *os.File
	err  error // of the first write that failed
}

func (o *output) Fd() uintptr { return o.file.Fd() }

func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	o.err = cmp.Or(o.err, err)
	return n, err
}

// printJSON prints v on several lines, for people too.
func printJSON(out io.Writer, v any) error {
	e := event.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// newTable returns a table. Tabs separate its columns.
func newTable(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 0, 0, 2, ' ', 0) }

// A list prints values as a table, which must be flushed, or as JSON with one object a line.
type list[T any] struct {
	json  *json.Encoder // nil: a table
	table *tabwriter.Writer
	head  string         // of the table; empty: it has none, or is printed
	row   func(T) string // of the table
}

func newList[T any](out io.Writer, asJSON bool, head string, row func(T) string) *list[T] {
	l := &list[T]{table: newTable(out), head: head, row: row}
	if asJSON {
		l.json = event.NewEncoder(out)
	}
	return l
}

func (l *list[T]) add(v T) error {
	if l.json != nil {
		return l.json.Encode(v)
	}
	if l.head != "" {
		fmt.Fprintln(l.table, l.head)
		l.head = ""
	}
	_, err := fmt.Fprintln(l.table, l.row(v))
	return err
}

// print prints all, or none if there are none. missing is why there may be more.
func (l *list[T]) print(all []T, missing error, none string) error {
	if len(all) == 0 && missing == nil && l.json == nil {
		fmt.Fprintln(l.table, none)
	}
	for _, v := range all {
		if err := l.add(v); err != nil {
			return err
		}
	}
	return errors.Join(l.table.Flush(), missing)
}
