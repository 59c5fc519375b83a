package secret

import "encoding/json"

// Member picks the secret out of a text that a secret store holds: the value of key if there is a #key in the reference, as in example,
// else the whole text, unless that is a JSON object. Its errors leave out those of the JSON decoder, which quote what they read.
func Member(text, key string, withKey bool, example string) (string, error) {
	var object map[string]any
	isObject := json.Unmarshal([]byte(text), &object) == nil && object != nil
	switch {
	case !withKey && isObject:
		return "", Permanentf("it is a JSON object: add #key to name the one value to use, as in %s", example)
	case !withKey:
		return text, nil
	case !isObject:
		return "", Permanentf("it is not a JSON object: leave out #%s, or store an object with that key", key)
	}
	value, found := object[key]
	if !found {
		return "", Permanentf("its JSON object has no key %q: correct the key after #, or add it to the secret", key)
	}
	member, isText := value.(string)
	if !isText {
		return "", Permanentf("the value of %q in its JSON object is not text: store it in quotes", key)
	}
	return member, nil
}
