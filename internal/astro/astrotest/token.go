package astrotest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Token makes an API token for an organization in the shape of Astro's: a JWT with its claims, and a random signature,
// so that no two are equal. The zero time makes one that never expires; organization "" one that names none.
func Token(organizationID string, expires time.Time) string {
	permissions := []string{"apiTokenId:" + rand.Text(), "workspaceId:" + WorkspaceID}
	if organizationID != "" {
		permissions = append(permissions, "organizationId:"+organizationID)
	}
	return TokenWith(permissions, expires)
}

// TokenWith makes an API token with these permissions.
func TokenWith(permissions []string, expires time.Time) string {
	claims := map[string]any{"iss": "https://auth.astronomer.io/", "isAstronomerGenerated": true, "permissions": permissions}
	if !expires.IsZero() {
		claims["exp"] = expires.Unix()
	}
	payload, _ := json.Marshal(claims) // cannot fail
	signature := make([]byte, 64)
	_, _ = rand.Read(signature)
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256","typ":"JWT","kid":"astrotest"}`)) + "." + encode(payload) + "." + encode(signature)
}

type claims struct {
	Permissions []string `json:"permissions"`
	Expires     int64    `json:"exp"`
}

func parseToken(token string) (claims, bool) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	return c, err == nil && json.Unmarshal(payload, &c) == nil
}

// accepts reports whether a token is valid now.
func (s *Server) accepts(token string) (claims, bool) {
	c, ok := parseToken(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.tokens == nil || slices.Contains(s.tokens, token)
	return c, ok && known && (c.Expires == 0 || s.now().Unix() < c.Expires)
}

// mayUse reports whether a token's permissions allow an organization. A token that names none may use any.
func (c claims) mayUse(organizationID string) bool {
	named := false
	for _, permission := range c.Permissions {
		id, ok := strings.CutPrefix(permission, "organizationId:")
		if ok && id == organizationID {
			return true
		}
		named = named || ok
	}
	return !named
}
