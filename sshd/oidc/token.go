package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// A Person is who a token is about.
type Person struct {
	Name    string // by which the person logs in
	Subject string // the provider's id of the person (claim sub), which never changes
	Claim   string // the value that Name is made from
}

// leeway is how far the clocks of two machines may be apart.
const leeway = time.Minute

// keysAway returns why the keys cannot be read that may have signed a token. The library
// has one error for that and for a token that none of them has signed.
func (s *SignIn) keysAway(ctx context.Context, raw string) error {
	_, err := oidc.NewRemoteKeySet(ctx, s.known.Keys).VerifySignature(ctx, raw)
	if errors.Unwrap(err) == nil { // the library's error about a token has no cause
		return nil
	}
	return err
}

// verify checks the ID token of an answer. The library checks signature, issuer,
// audience and end. verify also checks the nonce of this sign-in and the demands of
// the settings.
func (s *SignIn) verify(ctx context.Context, answer *oauth2.Token) (Person, error) {
	refuse := func(format string, args ...any) (Person, error) {
		return Person{}, fmt.Errorf("%w: "+format, append([]any{ErrToken}, args...)...)
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok {
		return refuse("the answer has none")
	}
	token, err := s.known.Verifier(&oidc.Config{ClientID: s.provider.settings.ClientID}).Verify(ctx, raw)
	if err != nil {
		if away := s.keysAway(ctx, raw); away != nil {
			return Person{}, fmt.Errorf("%w: %w", ErrUnavailable, failure{away})
		}
		return refuse("%w", failure{err})
	}
	var claims struct {
		ACR      string          `json:"acr"`
		AMR      []string        `json:"amr"`
		AuthTime int64           `json:"auth_time"`
		Party    string          `json:"azp"`
		Verified json.RawMessage `json:"email_verified"`
		all      map[string]any  `json:"-"`
	}
	if err := token.Claims(&claims); err != nil {
		return refuse("its claims: %w", err)
	}
	if err := token.Claims(&claims.all); err != nil {
		return refuse("its claims: %w", err)
	}
	settings := s.provider.settings
	name, _ := claims.all[settings.Claim].(string)
	short, ends := strings.CutSuffix(name, settings.Suffix)
	switch {
	case token.Nonce != "" && token.Nonce != s.nonce: // providers may leave it out in the device flow
		return refuse("it is for another sign-in (nonce)")
	case len(token.Audience) > 1 && claims.Party != settings.ClientID:
		return refuse("it is for %v, and azp is %q", token.Audience, claims.Party)
	case len(settings.RequireACR) > 0 && !slices.Contains(settings.RequireACR, claims.ACR):
		return refuse("acr is %q, and must be one of %v", claims.ACR, settings.RequireACR)
	case slices.ContainsFunc(settings.RequireAMR, func(m string) bool { return !slices.Contains(claims.AMR, m) }):
		return refuse("amr is %v, and must have all of %v", claims.AMR, settings.RequireAMR)
	case settings.MaxAge > 0 && time.Since(time.Unix(claims.AuthTime, 0)) > settings.MaxAge+leeway:
		return refuse("the person authenticated at %v, longer ago than %v", time.Unix(claims.AuthTime, 0).UTC(), settings.MaxAge)
	case name == "":
		return refuse("it has no claim %q with a text: the provider must be told to put it into ID tokens", settings.Claim)
	case settings.Claim == "email" && string(claims.Verified) != "true" && string(claims.Verified) != `"true"`:
		return refuse("the email is not verified (email_verified)")
	case !ends || short == "":
		return refuse("%s is %q, which does not end in %q", settings.Claim, name, settings.Suffix)
	}
	return Person{Name: strings.Replace(cmp.Or(settings.User, "%u"), "%u", short, 1), Subject: token.Subject, Claim: name}, nil
}
