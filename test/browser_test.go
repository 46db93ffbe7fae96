package test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var writeScreens = flag.Bool("screens", false, "write docs/pictures/console-*.png from this run")

// TestConsoleInBrowser has a person use the web page in chromium: a wrong password, a
// transfer that appears by itself and is ended, why somebody may do what, logout. The
// browser must have nothing to complain about, such as the policy for scripts.
func TestConsoleInBrowser(t *testing.T) {
	slow(t)
	t.Parallel()
	s, dir, address := startConsole(t)
	ctx := startBrowser(t, dir)
	complaints := listen(ctx)
	url := "http://" + address

	do(t, ctx, chromedp.Navigate(url+"/login"))
	screens(t, ctx, "login")
	logIn(t, ctx, url, "wrong")
	if got := read(t, ctx, chromedp.Text(`[role=alert]`)); got != "The login was refused." {
		t.Errorf("a wrong password: %q", got)
	}
	logIn(t, ctx, url, "alice-demo-1")
	do(t, ctx, chromedp.WaitVisible(`//td[contains(., 'demo: answers')]`)) // which the server asks while the page is shown
	if got := read(t, ctx, chromedp.Evaluate[string](`document.cookie`)); got != "" {
		t.Errorf("a script sees the cookie: %q", got)
	}

	download, _ := startDownload(t, s, dir)
	do(t, ctx, chromedp.WaitVisible(`#live progress`)) // the page is not loaded again: the row comes by itself
	const end = `//tr[td[contains(., 'bob')]]//a[.='End']`
	focus := `document.evaluate("` + end + `", document, null, XPathResult.FIRST_ORDERED_NODE_TYPE).singleNodeValue.focus(), true`
	read(t, ctx, chromedp.Evaluate[bool](focus)) // as a mouse does first: the row is not drawn again meanwhile
	do(t, ctx, chromedp.Click(end))
	if got := read(t, ctx, chromedp.Text(`main`)); !strings.Contains(got, "End the session of bob") {
		t.Errorf("before the end of a session: %q", got)
	}
	screens(t, ctx, "question")
	do(t, ctx, chromedp.Submit(`main form`), chromedp.WaitVisible(`#live`))
	if err := download.Wait(); err == nil {
		t.Error("the download was not ended")
	}

	do(t, ctx, chromedp.Click(`//nav//a[.='People']`), chromedp.SetValue(`main [name=user]`, "Bo"), chromedp.Submit(`main form`), chromedp.Click(`//td/a[.='bob']`), chromedp.WaitVisible(`svg`))
	if got := read(t, ctx, chromedp.TextContent(`svg`)); !strings.Contains(got, "staff matches") || !strings.Contains(got, "finance does not match") || strings.Contains(got, "/finance") {
		t.Errorf("the picture of bob: %q", got)
	}
	do(t, ctx, chromedp.SetValue(`main [name=group]`, "finance"), chromedp.Submit(`main form`), chromedp.WaitVisible(`//td[.='supposed']`))
	if got := read(t, ctx, chromedp.TextContent(`svg`)); !strings.Contains(got, "finance matches") || !strings.Contains(got, "/finance") {
		t.Errorf("the picture of bob, if he were in finance: %q", got)
	}
	screens(t, ctx, "people", 800)

	do(t, ctx, chromedp.Click(`//nav//a[.='Folders']`), chromedp.SetValue(`main [name=path]`, "/finance"), chromedp.Submit(`main form`), chromedp.WaitVisible(`//td[.='/finance']`))
	if got := read(t, ctx, chromedp.Text(`#live`)); !strings.Contains(got, "alice") || strings.Contains(got, "bob") || !strings.Contains(got, "rule finance: in cn=finance,") || strings.Contains(got, "NOT COMPLETE") {
		t.Errorf("who can reach /finance: %q", got)
	}
	screens(t, ctx, "folders", 800)

	do(t, ctx, chromedp.Click(`//nav//a[.='Rules']`), chromedp.WaitVisible(`.code`))
	shown := read(t, ctx, chromedp.Text(`.code`))
	if !strings.Contains(shown, "- name: staff") || strings.Contains(shown, "host_keys") || strings.Contains(shown, "events:") {
		t.Errorf("the rules: %q", shown)
	}
	rules := read(t, ctx, chromedp.Value(`textarea`))
	propose := func(text string) {
		t.Helper()
		do(t, ctx, chromedp.SetValue(`textarea`, text), chromedp.Click(`//button[.='Whom would they change?']`))
	}
	propose(strings.Replace(rules, "permissions: [full]", "permissions: [ful]", 1))
	do(t, ctx, chromedp.WaitVisible(`[role=alert]`))
	if got := read(t, ctx, chromedp.Text(`[role=alert]`)); !regexp.MustCompile(`^new rules:\d+: rules\[\d\]\.folders\[0\]\.permissions\[0\]: "ful"`).MatchString(got) {
		t.Errorf("a mistake in new rules: %q", got)
	}
	propose(strings.Replace(rules, "permissions: [full]", "permissions: [read_only]", 1))
	do(t, ctx, chromedp.WaitVisible(`//a[.='alice']`))
	if got := read(t, ctx, chromedp.Text(`#live`)); !strings.Contains(got, "Access changes for 1 of 7 people") || !strings.Contains(got, "~ rights /finance: full → list, read") {
		t.Errorf("whom new rules change: %q", got)
	}
	screens(t, ctx, "rules", 1600)

	do(t, ctx, chromedp.Navigate(url+"/events?type=session_kicked"), chromedp.WaitVisible(`//td[.='session_kicked']`))
	screens(t, ctx, "events", 360)
	do(t, ctx, chromedp.Click(`//button[.='Log out']`), chromedp.WaitVisible(`[name=password]`), chromedp.Navigate(url+"/people?user=bob"))
	if got := read(t, ctx, chromedp.Location()); got != url+"/login" {
		t.Errorf("after the logout the browser is at %s", got)
	}
	for _, c := range complaints() {
		if !strings.Contains(c, "403 (Forbidden)") && !strings.Contains(c, "400 (Bad Request)") { // the wrong password, and the wrong rules
			t.Errorf("the browser complains: %s", c)
		}
	}
}

// TestConsoleByKeyboard: an operator logs in and ends a session by the keyboard alone. What
// has the focus is visible at each step, and keeps the focus while the page draws itself again.
func TestConsoleByKeyboard(t *testing.T) {
	slow(t)
	t.Parallel()
	s, dir, address := startConsole(t)
	ctx := startBrowser(t, dir)
	do(t, ctx, chromedp.Navigate("http://"+address+"/login"), chromedp.WaitVisible(`[name=name]`))
	focused := func() string {
		t.Helper()
		const label = `(e => e.getAttribute("aria-label") || e.name || e.textContent)(document.activeElement)`
		name := read(t, ctx, chromedp.Evaluate[string](label))
		const outline = `(s => s.outlineStyle != "none" && parseFloat(s.outlineWidth) > 0)(getComputedStyle(document.activeElement))`
		if !read(t, ctx, chromedp.Evaluate[bool](outline)) {
			t.Errorf("nothing shows that %q has the focus", name)
		}
		return name
	}
	// tabTo presses Tab until something has the focus.
	tabTo := func(want string) {
		t.Helper()
		var passed []string
		for range 20 {
			do(t, ctx, chromedp.KeyEvent(kb.Tab))
			got := focused()
			if got == want {
				return
			}
			passed = append(passed, got)
		}
		t.Fatalf("Tab does not reach %q, only %q", want, passed)
	}

	do(t, ctx, chromedp.KeyEvent("alice"))
	if got := focused(); got != "name" {
		t.Errorf("at first %q has the focus", got)
	}
	tabTo("password")
	do(t, ctx, chromedp.KeyEvent("alice-demo-1"))
	tabTo("Log in")
	do(t, ctx, chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(`#live`))

	download, _ := startDownload(t, s, dir)
	do(t, ctx, chromedp.WaitVisible(`#live progress`))
	do(t, ctx, chromedp.EmulateViewport(650, 900)) // just no cards: the table is wider
	tabTo("Open sessions")
	const scrolled = `document.activeElement.scrollLeft > 0`
	eventually(t, "an arrow scrolls the table", func() bool {
		do(t, ctx, chromedp.KeyEvent(kb.ArrowRight))
		return read(t, ctx, chromedp.Evaluate[bool](scrolled))
	})
	read(t, ctx, chromedp.Evaluate[bool](`document.querySelector("#live progress").dataset.old = "yes", true`))
	do(t, ctx, chromedp.WaitVisible(`#live progress:not([data-old])`))
	if got := focused(); got != "Open sessions" || !read(t, ctx, chromedp.Evaluate[bool](scrolled)) {
		t.Errorf("after the page was drawn again %q has the focus, or the table is at its begin", got)
	}
	tabTo("bob")
	tabTo("End")
	do(t, ctx, chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(`//p[contains(., 'End the session of bob')]`))
	tabTo("Yes")
	do(t, ctx, chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(`#live`))
	if err := download.Wait(); err == nil {
		t.Error("the download was not ended")
	}
}

// TestBusyConsoleInBrowser: an administrator sees transfers and plots that the page draws by
// itself, at any size. The documents show this page.
func TestBusyConsoleInBrowser(t *testing.T) {
	slow(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	s, err := startServer(berth, dir, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dir", dir, "--busy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	ctx := startBrowser(t, dir)
	logInAs(t, ctx, "http://"+s.console, "ida", "ida-demo-1")
	do(t, ctx, chromedp.WaitVisible(`.plots`))
	points := 2 // of a plot: 15 seconds between them
	if *writeScreens {
		points = 18 // of 20: with 21 the plots are about 20 minutes
	}
	eventuallyWithin(t, 6*time.Minute, "the plots have lines, and there are transfers", func() bool {
		line := read(t, ctx, chromedp.Evaluate[string](`document.querySelector(".plots polyline").getAttribute("points")`))
		shown := strings.Fields(line)
		return len(shown) >= points &&
			!slices.Equal(slices.Compact(heights(shown)), []string{"120"}) && read(t, ctx, chromedp.Evaluate[bool](`document.querySelectorAll("#live progress").length > 1`))
	})
	screens(t, ctx, "now", 360, 800, 1600)
	if got := read(t, ctx, chromedp.TextContent(`#stale`)); got != "" {
		t.Errorf("while the server answers: %q", got)
	}
	s.stop()
	do(t, ctx, chromedp.WaitVisible(`//p[contains(., 'What is shown here is old')]`))
}

// heights are the second numbers of points.
func heights(points []string) (all []string) {
	for _, p := range points {
		_, y, _ := strings.Cut(p, ",")
		all = append(all, y)
	}
	return all
}

// TestConsoleAttacksInBrowser: a page of another port that sends a form, which the browser
// sends with the cookie, changes nothing; a cookie that was stolen ends the session; a
// person whom the directory disables is out; passwords cannot be guessed.
func TestConsoleAttacksInBrowser(t *testing.T) {
	slow(t)
	t.Parallel()
	s, dir, address := startConsole(t)
	ctx := startBrowser(t, dir)
	url := "http://" + address
	in := func() {
		t.Helper()
		logIn(t, ctx, url, "alice-demo-1")
		do(t, ctx, chromedp.WaitVisible(`#live`))
	}
	out := func() bool {
		do(t, ctx, chromedp.Navigate(url+"/"))
		return read(t, ctx, chromedp.Location()) == url+"/login"
	}

	in()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>evil</title><form method="post" action="%s/drain"><input name="csrf" value="guess"><button>win</button></form></html>`, url)
	}))
	defer evil.Close()
	do(t, ctx, chromedp.Navigate(evil.URL), chromedp.Click(`button`))
	eventually(t, "the browser has sent the form", func() bool { return read(t, ctx, chromedp.Location()) == url+"/drain" })
	if got := read(t, ctx, chromedp.Text(`body`)); !strings.Contains(got, "cross-origin request") {
		t.Errorf("a form of another page: %q", got)
	}
	if out() {
		t.Error("a form of another page has ended the session")
	}

	var cookies network.GetCookiesResult
	do(t, ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) (err error) {
		cookies, err = cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{})
		return err
	}))
	if len(cookies.Cookies) != 1 {
		t.Fatalf("cookies: %v", cookies)
	}
	thief := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: cookies.Cookies[0].Name, Value: cookies.Cookies[0].Value})
	res, err := thief.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.Request.URL.Path != "/login" || !out() {
		t.Errorf("the thief is at %s; logged out: %t", res.Request.URL, out())
	}

	in()
	edit(t, filepath.Join(dir, "people.ldif"), "\nuid: alice\n", "\nuid: alice\nnsAccountLock: TRUE\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "alice is out", out)
	logIn(t, ctx, url, "alice-demo-1")
	if got := read(t, ctx, chromedp.Text(`[role=alert]`)); !strings.Contains(got, "The login was refused.") { // nobody has proved the password
		t.Errorf("the next login: %q", got)
	}

	shielded := regexp.MustCompile(`"type":"login_shielded".*"user":"bob"`)
	tries := 0
	eventually(t, "bob is shielded from guesses", func() bool {
		tries++
		logInAs(t, ctx, url, "bob", "wrong")
		do(t, ctx, chromedp.WaitVisible(`[role=alert]`))
		return shielded.MatchString(readFile(t, filepath.Join(dir, "events.jsonl")))
	})
	if tries < 5 {
		t.Errorf("after %d wrong passwords", tries)
	}
	logInAs(t, ctx, url, "bob", "bob-demo-1")
	if got := read(t, ctx, chromedp.Text(`[role=alert]`)); got != "The login was refused." {
		t.Errorf("then with the right one: %q", got)
	}
}

// startBrowser starts chromium, with its files in dir.
func startBrowser(t *testing.T, dir string, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	need(t, "chromium", "npm", "sftp", "sshpass")
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, chromedp.UserDataDir(filepath.Join(dir, "chromium")))
	options = append(options, more...)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// logIn has alice fill in the form.
func logIn(t *testing.T, ctx context.Context, url, password string) {
	t.Helper()
	logInAs(t, ctx, url, "alice", password)
}

func logInAs(t *testing.T, ctx context.Context, url, name, password string) {
	t.Helper()
	do(t, ctx, chromedp.Navigate(url+"/login"), chromedp.SetValue(`[name=name]`, name), chromedp.SetValue(`[name=password]`, password), chromedp.Submit(`main form`))
}

// slow keeps a test out of make test, which has five minutes.
func slow(t *testing.T) {
	t.Helper()
	if !slices.Contains(strings.Split(os.Getenv("BERTH_PEERS"), ","), "suites") {
		t.Skip(`runs only when BERTH_PEERS names "suites", as make test-peers does`)
	}
}

// do does what a person does.
func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		page, _ := chromedp.Run(ctx, chromedp.OuterHTML(`html`))
		t.Fatalf("%v, at\n%.5000s", err, page)
	}
}

// read returns what a person sees.
func read[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	seen, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// listen returns a function with what the browser has complained about so far.
func listen(ctx context.Context) func() []string {
	var mu sync.Mutex
	var all []string
	add := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, text)
	}
	entries, exceptions := chromedp.Events(ctx, log.EntryAdded), chromedp.Events(ctx, runtime.ExceptionThrown)
	go func() {
		for ev, err := range entries {
			if err == nil {
				add(ev.Entry.Text)
			}
		}
	}()
	go func() {
		for ev, err := range exceptions {
			if err == nil {
				add(ev.ExceptionDetails.Text)
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// startDownload has bob download a file that takes a long time. told has the text that
// he gets.
func startDownload(t *testing.T, s *server, dir string) (cmd *exec.Cmd, told *bytes.Buffer) {
	t.Helper()
	big := filepath.Join(dir, "home/bob/big")
	if err := os.MkdirAll(filepath.Dir(big), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(big, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("sshpass", "-p", "bob-demo-1", "sftp", "-q", "-oBatchMode=no", "-b", "-", "-F", "none", "-P", s.port(),
		"-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "bob@127.0.0.1")
	cmd.Stdin = strings.NewReader("get /big " + filepath.Join(dir, "back") + "\n")
	told = &bytes.Buffer{}
	cmd.Stderr = told
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, told
}

// screens looks at the page at the sizes of a telephone, a tablet and a large screen: the
// page must not be wider than the window. The documents show it at the widths of shown.
func screens(t *testing.T, ctx context.Context, name string, shown ...int64) {
	t.Helper()
	accessible(t, ctx, name)
	for _, width := range []int64{360, 800, 1600} {
		do(t, ctx, chromedp.EmulateViewport(width, 900))
		if read(t, ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > window.innerWidth`)) {
			t.Errorf("%s: the page is wider than %d pixels", name, width)
		}
		if !*writeScreens || !slices.Contains(shown, width) {
			continue
		}
		file := fmt.Sprintf("../docs/pictures/console-%s-%d.png", name, width)
		if err := os.WriteFile(file, small(t, read(t, ctx, chromedp.CaptureScreenshot())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// small returns a picture in 256 colors, which is enough for pages of text and takes half of
// the space: it sets as many low bits of all colors as needed, so that white stays white.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	for bits := 0; ; bits++ {
		index := map[color.RGBA]uint8{}
		to := image.NewPaletted(from.Bounds(), nil)
		for y := from.Bounds().Min.Y; y < from.Bounds().Max.Y && len(to.Palette) <= 256; y++ {
			for x := from.Bounds().Min.X; x < from.Bounds().Max.X; x++ {
				r, g, b, _ := from.At(x, y).RGBA()
				round := func(v uint32) uint8 { return uint8(v>>8) | (1<<bits - 1) }
				c := color.RGBA{round(r), round(g), round(b), 255}
				i, known := index[c]
				if !known {
					i = uint8(len(to.Palette))
					index[c] = i
					to.Palette = append(to.Palette, c)
				}
				to.SetColorIndex(x, y, i)
			}
		}
		if len(to.Palette) > 256 {
			continue
		}
		var b bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, to); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
}

// accessible has axe-core look for what keeps people from using the page: contrast,
// labels, order of headings and so on.
func accessible(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	root, err := exec.Command("npm", "root", "--global").Output()
	if err != nil {
		t.Fatal(err)
	}
	axe, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "axe-core/axe.min.js"))
	if err != nil {
		t.Fatalf("%v: run test/packages.sh base peers", err)
	}
	for _, scheme := range []string{"light", "dark"} {
		do(t, ctx, emulate(scheme))
		found := read(t, ctx, chromedp.Evaluate[[]string](string(axe)+`;
			axe.run(document).then(r => r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html).join(" ")))`, chromedp.EvalAwaitPromise))
		for _, f := range found {
			t.Errorf("%s, %s: %s", name, scheme, f)
		}
	}
	do(t, ctx, emulate("light"))
}

// emulate has the person prefer a color scheme.
func emulate(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}
