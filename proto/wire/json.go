package wire

import (
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// StrictJSON refuses fields that no message has: with curl a misspelt field
// would else be left out in silence.
func StrictJSON() connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithCodec(strictJSON{"json"}),
		connect.WithCodec(strictJSON{"json; charset=utf-8"}),
	)
}

type strictJSON struct{ name string }

// Name implements connect.Codec.
func (c strictJSON) Name() string { return c.name }

// Marshal implements connect.Codec.
func (c strictJSON) Marshal(m any) ([]byte, error) { return c.MarshalAppend(nil, m) }

// MarshalAppend is Marshal into what is there.
func (strictJSON) MarshalAppend(to []byte, m any) ([]byte, error) {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no message", m)
	}
	return protojson.MarshalOptions{}.MarshalAppend(to, msg)
}

// IsBinary tells Connect that the output is text.
func (strictJSON) IsBinary() bool { return false }

// MarshalStable is what Connect uses in URLs.
func (c strictJSON) MarshalStable(m any) ([]byte, error) { return c.Marshal(m) }

// Unmarshal implements connect.Codec.
func (strictJSON) Unmarshal(b []byte, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", m)
	}
	if len(b) == 0 {
		return errors.New("an empty body is no JSON: send at least {}")
	}
	return protojson.UnmarshalOptions{}.Unmarshal(b, msg)
}
