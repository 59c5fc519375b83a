package astro

import "time"

// Claims is what an API token says of itself. Nobody has checked its signature.
type Claims struct {
	Organizations []string  // IDs
	Expires       time.Time // zero: never
	API           bool      // it says that it is an API token, and not a person's own
}

// ReadClaims reads the claims of a token. What is no token is an *Error, which does not show it.
func ReadClaims(text string) (Claims, error) {
	token, err := parseToken(text)
	if err != nil {
		return Claims{}, err
	}
	c := Claims{Expires: token.expires, API: token.api}
	for _, o := range token.organizations {
		c.Organizations = append(c.Organizations, o.id)
	}
	return c, nil
}
