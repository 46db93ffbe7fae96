package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/directory"
	"berth/policy"
	"berth/policy/review"
	"berth/sshd/event/audit"
)

// A foldersBody is who can reach a folder.
type foldersBody struct {
	Path    string
	Paths   []string // of the rules
	Problem string
	Result  *resultView
}

func (c *Console) folders(w http.ResponseWriter, r *http.Request, s *session) {
	b := foldersBody{Path: r.FormValue("path"), Result: c.resultOf(r, "folders")}
	status := http.StatusOK
	switch {
	case b.Result != nil && b.Result.Review != nil:
		b.Path = b.Result.Review.Path
	case b.Result == nil && r.FormValue("job") != "":
		b.Problem, status = say("result.gone_ask"), http.StatusNotFound
	}
	c.showFolders(w, status, s, b)
}

func (c *Console) showFolders(w http.ResponseWriter, status int, s *session, b foldersBody) {
	b.Paths = c.Rules.Set().Paths()
	slices.Sort(b.Paths)
	c.show(w, status, "folders.html", c.view(s, say("folders.title"), b))
}

// review begins to find out who can reach a folder.
func (c *Console) review(w http.ResponseWriter, r *http.Request, s *session) {
	b := foldersBody{Path: strings.TrimSpace(r.PostFormValue("path"))}
	if err := c.beginReview(w, r, s, b.Path); err != nil {
		b.Problem = err.Error()
		c.showFolders(w, refusal(err), s, b)
	}
}

func (c *Console) beginReview(w http.ResponseWriter, r *http.Request, s *session, path string) error {
	if !strings.HasPrefix(path, "/") {
		return errors.New(say("folders.bad_path", path))
	}
	set := c.Rules.Set()
	if _, err := review.New(set, path, c.Review, nil, nil, time.Now()); err != nil {
		return err
	}
	return c.begin(w, r, s, "folders", func(ctx context.Context, j *job) (any, error) {
		uses, unread := c.uses(ctx, j, set, path)
		nested, nesting := c.Gate.Directory.Nesting(ctx)
		rev, err := review.New(set, path, c.Review, nested, uses, time.Now())
		if err != nil {
			return nil, err
		}
		rev.Most = mostResult
		if rev.Disk, err = c.Rules.Disk(); err != nil {
			rev.Problem(true, err.Error())
		}
		if unread != nil {
			rev.Problem(true, say("folders.uses_missing", unread))
		}
		if nesting != nil {
			rev.Problem(true, say("folders.no_nesting", nesting))
		}
		if err := c.everybody(ctx, j, func(u *directory.User) bool { rev.Add(u); return rev.Full() }); err != nil {
			rev.Problem(false, err.Error())
		}
		return rev.Report(), nil
	})
}

// mostEvents is how many bytes of the newest events are read to say when rights were used
// last: what berth report access does with all of them would take too long while others wait.
const mostEvents = 256 << 20

// uses reads from the newest events when people logged in and used their rights; nil if
// events are not kept in a file. The error says what could not be read.
func (c *Console) uses(ctx context.Context, j *job, set *policy.Set, path string) (*review.Uses, error) {
	if c.File == "" {
		return nil, nil
	}
	uses := review.NewUses(set, path)
	search, err := audit.NewSearch(audit.Query{Types: uses.Types()})
	if err != nil {
		return nil, err
	}
	return uses, search.Latest(ctx, c.File, mostEvents, j.events.Store, func(m *audit.Match) { uses.Add(&m.Record) })
}

// report sends a whole review as a file.
func (c *Console) report(w http.ResponseWriter, r *http.Request, _ *session) {
	v, format := c.resultOf(r, "folders"), r.FormValue("format")
	if v == nil || v.Review == nil || !slices.Contains(review.Formats, format) {
		c.fail(w, http.StatusNotFound, say("folders.no_report"))
		return
	}
	var b bytes.Buffer
	if err := v.result.(*review.Report).Write(&b, format); err != nil {
		c.fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream") // a file to keep, not a page
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="access-%s.%s"`, v.Began.UTC().Format("20060102-150405"), format))
	_, _ = b.WriteTo(w)
}
