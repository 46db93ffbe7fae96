package scp

import (
	"cmp"
	"errors"
	"io"
	iofs "io/fs"
	"path"
	"strings"

	"berth/fs"
)

// A sink takes files from the client.
type sink struct {
	*peer
	view
	recursive, preserve bool

	target place   // what the client named
	stack  []place // the directories that are open, the innermost last
	times  fs.Attr // of the next record
}

// A place is where the next file goes.
type place struct {
	name  string  // in the view
	shown string  // as the client knows it
	isDir bool    // otherwise the file gets exactly this name
	attr  fs.Attr // has the mode that was sent; Set is what to set when the file is complete
	err   error   // why nothing with exactly this name can be made
}

// sink runs scp -t.
func (c Command) sink(p *peer, v view) error {
	s := &sink{peer: p, view: v, recursive: c.Recursive, preserve: c.Preserve}
	if err := s.open(c); err != nil {
		return err
	}
	s.ok()
	for {
		more, err := s.next()
		if err != nil || !more {
			return err
		}
	}
}

// open finds the one target.
func (s *sink) open(c Command) error {
	g := &glob{view: s.view, done: s.ctx.Done()}
	var paths []string
	for _, pattern := range c.Paths {
		found, err := g.expand(pattern)
		if err != nil {
			return fatal{text: err.Error(), err: err}
		}
		paths = append(paths, found...)
		if len(paths) > 1 {
			break
		}
	}
	if len(paths) != 1 {
		return fatal{text: "ambiguous target"}
	}
	name, err := s.name(paths[0])
	s.target = place{name: name, shown: shown(paths[0])}
	if err != nil {
		return fatal{text: s.target.shown + ": " + reason(err), err: err}
	}
	fi, err := s.files.Stat(name)
	s.target.isDir = err == nil && fi.IsDir()
	if err == nil && !fi.IsDir() && c.TargetDirectory {
		err = fs.ErrNotDir
	}
	if err != nil && (c.TargetDirectory || !errors.Is(err, iofs.ErrNotExist)) {
		return fatal{text: s.target.shown + ": " + reason(err), err: err}
	}
	if !s.target.isDir && strings.HasSuffix(strings.TrimRight(s.target.shown, "/"), "/.") {
		s.target.err = cmp.Or(err, fs.ErrNotDir) // only a directory has ".", as with OpenSSH
	}
	return nil
}

// next handles one record with its data. After the last one it returns false.
func (s *sink) next() (more bool, err error) {
	kind, err := s.in.ReadByte()
	if errors.Is(err, io.EOF) && len(s.stack) == 0 {
		return false, nil
	}
	if err != nil {
		return false, ended("read from", err)
	}
	line, err := s.line()
	if err != nil {
		return false, err
	}
	s.verbose("Sink: " + string(kind) + line)
	switch kind {
	case 'C':
		return true, s.file(line)
	case 'D':
		return true, s.directory(line)
	case 'E':
		return s.leave()
	case 'T':
		if s.times, err = parseTimes(line); err != nil {
			return false, protocolError(err.Error())
		}
		s.ok()
		return true, nil
	case tagError:
		s.note(errors.New("the client reports: " + printable(line)))
		return true, nil
	case tagFatal:
		return false, errors.New("the client gave up: " + printable(line))
	}
	return false, protocolError("expected control record")
}

// take reads the record of a file or directory and finds its times and its place.
func (s *sink) take(line string) (record, place, error) {
	attr := s.times
	s.times = fs.Attr{}
	r, err := parseRecord(line)
	if err != nil {
		return r, place{}, err
	}
	in := s.target
	if len(s.stack) > 0 {
		in = s.stack[len(s.stack)-1]
	}
	attr.Mode = r.mode.Perm()
	if s.preserve {
		attr.Mode, attr.Set = r.mode, attr.Set|fs.AttrMode // the FS decides about special bits
	}
	p := place{name: in.name, shown: in.shown, attr: attr, err: in.err}
	if in.isDir {
		p.name = path.Join(in.name, r.name)
		p.shown = strings.TrimRight(in.shown, "/") + "/" + r.name
	}
	return r, p, nil
}

// directory enters a directory and makes it if it is missing.
func (s *sink) directory(line string) error {
	if !s.recursive {
		return protocolError("received directory without -r")
	}
	_, p, err := s.take(line)
	if err != nil {
		return err
	}
	defer s.trace("D", p.name, s.begin())
	p.isDir = true
	if len(s.stack) == maxDepth {
		err = errTooDeep
	} else {
		err = s.enter(&p)
	}
	if err != nil { // the client does not send what is in the directory
		s.fail(p.shown, err)
		return nil
	}
	s.stack = append(s.stack, p)
	s.ok()
	return nil
}

// enter makes the directory p if it is missing, writable until it is complete.
func (s *sink) enter(p *place) error {
	if p.err != nil {
		return p.err
	}
	fi, err := s.files.Stat(p.name)
	switch {
	case err == nil && !fi.IsDir():
		return fs.ErrNotDir
	case err == nil || !errors.Is(err, iofs.ErrNotExist):
		return err
	}
	const whileCopying = 0o700
	mode := p.attr.Mode
	err = s.files.Mkdir(p.name, mode.Perm()|whileCopying)
	if errors.Is(err, iofs.ErrExist) {
		return nil // somebody else has just made it, or this user may not see it
	}
	if err != nil {
		return err
	}
	if mode&whileCopying == whileCopying || s.preserve {
		return nil
	}
	fi, err = s.files.Stat(p.name)
	if err != nil {
		return err
	}
	p.attr.Mode &= fi.Mode().Perm() // the mode that the umask leaves
	p.attr.Set |= fs.AttrMode
	return nil
}

// leave completes the innermost directory.
func (s *sink) leave() (more bool, err error) {
	if len(s.stack) == 0 {
		s.ok() // as OpenSSH does
		return false, nil
	}
	p := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	if p.attr.Set != 0 {
		if err := s.files.SetAttr(p.name, p.attr); err != nil {
			s.fail(p.shown+": set attributes", err)
			return true, nil
		}
	}
	s.ok()
	return true, nil
}
