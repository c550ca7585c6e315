package accurate

import (
	"encoding/json"
	"net/http"
)

// object is a JSON object.
type object = map[string]any

// answer is what a call comes to.
type answer struct {
	status int
	body   object
}

// done answers {"s":true,"d":…}.
func done(d any) answer { return answer{http.StatusOK, object{"s": true, "d": d}} }

// refused is the business' refusal: inside HTTP 200.
func refused(texts ...string) answer {
	d := make([]any, len(texts))
	for i, text := range texts {
		d[i] = text
	}
	return answer{http.StatusOK, object{"s": false, "d": d}}
}

func (a answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(a.status)
	// The caller may have gone; the books know all the same.
	_ = json.NewEncoder(w).Encode(a.body)
}
