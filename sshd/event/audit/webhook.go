package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"berth/sshd/check"
	"berth/sshd/privatefile"

	"berth/sshd/event/format"
)

// Webhook says which HTTP server events of the file are sent to.
type Webhook struct {
	URL            string   `mapstructure:"url"`              // the URL that CloudEvents are posted to, such as https://siem.corp.example/berth; empty: none
	CAFile         string   `mapstructure:"ca_file"`          // PEM file with the authorities of the server's certificate; empty: those of the system
	TokenFile      string   `mapstructure:"token_file"`       // a file whose first line is sent as bearer token; it is read for each request
	HMACSecretFile string   `mapstructure:"hmac_secret_file"` // a file whose first line is the secret for the header Berth-Signature; it is read for each request
	Types          []string `mapstructure:"types"`            // types of events that are sent, such as login_*; empty: all
	Batch          int      `mapstructure:"batch"`            // the most events in one request
	Format         string   `mapstructure:"format"`           // the format of the data of a CloudEvent: json, ecs, ocsf or cef
	Insecure       bool     `mapstructure:"insecure"`         // true: an http:// address of another machine is allowed
}

// Enabled reports whether there is a server.
func (h *Webhook) Enabled() bool { return h.URL != "" }

const mostWebhookBatch = 10_000

// check reports what in h cannot be used.
func (h *Webhook) check(s *Settings) (wrong check.Mistakes) {
	if !h.Enabled() {
		return nil
	}
	u, err := url.Parse(h.URL)
	usable := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil
	wrong.If(!usable, "webhook.url: must be such as https://HOST/PATH, without a user (token_file is for secrets)")
	wrong.If(usable && u.Scheme == "http" && !h.Insecure && !isLoopback(u.Hostname()), "webhook.url: must be https://, or everybody on the way can read and change the events; webhook.insecure: true allows it")
	wrong.If(h.Batch < 1 || h.Batch > mostWebhookBatch, "webhook.batch: %d: must be from 1 to %d", h.Batch, mostWebhookBatch)
	_, err = matching(h.Types)
	wrong.If(err != nil, "webhook.types: %w", err)
	_, err = format.New(h.Format, "")
	wrong.If(err != nil, "webhook.%w", err)
	wrong.If(!s.spools(), "webhook: needs events.file, which is not a stream, and events.chain: what is in the file is sent")
	return wrong
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// webhookServer is the receiver of a Webhook.
type webhookServer struct {
	Webhook
	host   string // scheme and host: a path may hold a secret
	source string // of the events; needs no escapes in JSON
	format format.Formatter
	client *http.Client
}

// webhookTimeout is how long a request may take.
const webhookTimeout = 30 * time.Second

// ForwardToWebhook begins to send the lines of the file to s.Webhook, from the first
// one that it has not taken. s must be those of Open. Close ends it.
func (f *File) ForwardToWebhook(s Settings, log hclog.Logger) (*Forwarder, error) {
	to, err := newWebhook(&s)
	if err != nil {
		return nil, err
	}
	return f.forward(&s, "webhook", to.host, s.Webhook.Types, s.Webhook.Batch, to, log)
}

// CheckWebhook reports which files of s.Webhook cannot be used.
func (s *Settings) CheckWebhook() error {
	_, err := newWebhook(s)
	return err
}

func newWebhook(s *Settings) (*webhookServer, error) {
	u, err := url.Parse(s.Webhook.URL)
	if err != nil {
		return nil, errors.New("webhook.url: is no address")
	}
	trust, err := privatefile.ClientTLS(s.Webhook.CAFile)
	if err != nil {
		return nil, fmt.Errorf("webhook.%w", err)
	}
	translate, err := format.New(s.Webhook.Format, s.Version)
	if err != nil {
		return nil, fmt.Errorf("webhook.%w", err)
	}
	h := &webhookServer{
		format: translate, Webhook: s.Webhook, host: u.Scheme + "://" + u.Host,
		client: &http.Client{
			Timeout:   webhookTimeout,
			Transport: &http.Transport{TLSClientConfig: trust, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
			// Redirects are refused: events and secrets go only to the server that is
			// configured.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	node := s.Node
	if node == "" {
		if node, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	h.source = "/berth/" + url.PathEscape(node)
	for key, file := range map[string]string{"token_file": h.TokenFile, "hmac_secret_file": h.HMACSecretFile} {
		if _, err := secret(key, file); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// secret is the first line of a file of the settings; empty if there is none.
func secret(key, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	line, err := privatefile.FirstLine(file)
	if err != nil {
		return "", fmt.Errorf("webhook.%s: %s: %w", key, file, err)
	}
	return line, nil
}

// cloudEvents is lines as a batch of CloudEvents 1.0 in JSON. The id is the link, so
// that an event that is sent twice has one id.
func (h *webhookServer) cloudEvents(lines []entry) []byte {
	var b bytes.Buffer
	for i, e := range lines {
		b.WriteByte("[,"[min(i, 1)])
		contentType, data := "application/json", h.format(e.line)
		if h.Format == format.CEF {
			contentType = "text/plain"
			data, _ = json.Marshal(string(data)) // a text can always be written
		}
		fmt.Fprintf(&b, `{"specversion":"1.0","id":"%s","source":"%s","type":"berth.%s","time":"%s","datacontenttype":"%s","data":%s}`,
			e.link, h.source, member(e.line, "type"), member(e.line, "time"), contentType, data)
	}
	b.WriteByte(']')
	return b.Bytes()
}

func (h *webhookServer) send(ctx context.Context, lines []entry) error {
	body := h.cloudEvents(lines)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook.url: is no address")
	}
	req.Header.Set("Content-Type", "application/cloudevents-batch+json; charset=UTF-8")
	req.Header.Set("User-Agent", "berth")
	token, err := secret("token_file", h.TokenFile)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	key, err := secret("hmac_secret_file", h.HMACSecretFile)
	if err != nil {
		return err
	}
	if key != "" {
		req.Header.Set("Berth-Signature", signature(key, time.Now(), body))
	}
	resp, err := h.client.Do(req)
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		err = withURL.Err
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is used again
	switch {
	case resp.StatusCode == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w for the server: %s", errTooLarge, resp.Status)
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: the server answers %s", errRefused, resp.Status)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	return nil
}

// signature is the header Berth-Signature. It covers the time, so that a request
// cannot be sent again much later.
func signature(key string, now time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%d.%s", now.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%x", now.Unix(), mac.Sum(nil))
}

func (h *webhookServer) close() error {
	h.client.CloseIdleConnections()
	return nil
}
