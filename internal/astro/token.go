package astro

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

const tokenRepair = "put a valid Astro API token where the configuration's token setting (or ASTRO_API_TOKEN) points"

// tokenError is the error of a call that was not made for want of a token.
func tokenError(problem, repair string, permanent bool, cause error) error {
	return &Error{Op: "read the API token", Problem: problem, Repair: repair, permanent: permanent, noEffect: true, cause: cause}
}

// apiToken is an Astro API token and what it says of itself. The signature is Astro's to check.
type apiToken struct {
	raw           string
	organizations []orgName // without names, usually exactly one
	expires       time.Time // zero: never
	api           bool      // it says that it is an API token, and not a person's own
	secrets       secrets
}

func (t *apiToken) expired() bool { return !t.expires.IsZero() && !time.Now().Before(t.expires) }

// parseToken refuses what is no token before it is sent anywhere: it may be another secret, put in the wrong place.
func parseToken(text string) (*apiToken, error) {
	text = strings.TrimSpace(text)
	refuse := func(problem string) (*apiToken, error) {
		return nil, tokenError(problem, tokenRepair, true, nil)
	}
	parts := strings.Split(text, ".")
	switch {
	case text == "":
		return refuse("it is empty")
	case strings.HasPrefix(text, "{"):
		return refuse("it is JSON, not a token; if the secret has several keys, name the one to use (aws-sm:ARN#key)")
	case len(parts) != 3:
		return refuse("this is no Astro API token (three parts of letters, digits, '-' and '_', joined by dots)")
	}
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.DecodeString(part); err != nil || part == "" {
			return refuse("this is no Astro API token (a part is not base64); it may be cut or have a line break in it")
		}
	}
	var claims struct {
		Permissions []string `json:"permissions"`
		Expires     float64  `json:"exp"`
		Generated   any      `json:"isAstronomerGenerated"` // whatever it is, the token may be good
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if err := json.Unmarshal(payload, &claims); err != nil {
		return refuse("this is no Astro API token (its claims are not the expected JSON)")
	}
	token := &apiToken{raw: text, api: claims.Generated == true}
	token.secrets.add(text)
	token.secrets.add(parts...)
	if claims.Expires > 0 && claims.Expires < 1e11 { // seconds up to the year 5138; anything else is no date
		token.expires = time.Unix(int64(claims.Expires), 0).UTC()
	}
	for _, permission := range claims.Permissions {
		token.api = token.api || strings.HasPrefix(permission, "apiTokenId:")
		if id, ok := strings.CutPrefix(permission, "organizationId:"); ok && validID(id) {
			if org := (orgName{id: id}); !slices.Contains(token.organizations, org) {
				token.organizations = append(token.organizations, org)
			}
		}
	}
	return token, nil
}

// tokenSource reads the token when it is first needed and again when it has ended or was refused.
type tokenSource struct {
	read    func(ctx context.Context, refresh bool) (string, error)
	busy    chan struct{} // holds one element while somebody uses current; a mutex that ctx can interrupt
	current *apiToken
}

// get returns the current token, never one that has ended.
func (s *tokenSource) get(ctx context.Context) (*apiToken, error) {
	return s.withLock(ctx, func() (*apiToken, error) {
		if s.current == nil {
			if err := s.load(ctx, false); err != nil {
				return nil, err
			}
		}
		if s.current.expired() {
			if err := s.load(ctx, true); err != nil {
				return nil, err
			}
		}
		if s.current.expired() {
			return nil, tokenError("it expired on "+s.current.expires.Format(time.RFC3339), tokenRepair, true, nil)
		}
		return s.current, nil
	})
}

// renew returns the token to use after Astro refused one: the one read meanwhile by somebody else, or read now.
func (s *tokenSource) renew(ctx context.Context, refused *apiToken) (*apiToken, error) {
	return s.withLock(ctx, func() (*apiToken, error) {
		if s.current == refused {
			if err := s.load(ctx, true); err != nil {
				return nil, err
			}
		}
		return s.current, nil
	})
}

func (s *tokenSource) withLock(ctx context.Context, use func() (*apiToken, error)) (*apiToken, error) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
		return use()
	case <-ctx.Done():
		return nil, tokenError("interrupted", "", false, context.Cause(ctx))
	}
}

func (s *tokenSource) load(ctx context.Context, refresh bool) error {
	readCtx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	text, err := s.read(readCtx, refresh)
	if err != nil {
		return tokenError("it cannot be read", "", isPermanent(err), err)
	}
	token, err := parseToken(text)
	if err != nil {
		return err
	}
	s.current = token
	return nil
}
