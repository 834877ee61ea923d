package wire

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// maxFields bounds the field errors that are sent one by one; the message has
// them all.
const maxFields = 64

// ConnectCode is what a code of ours is on the wire.
func ConnectCode(c spec.Code) connect.Code {
	switch c {
	case spec.CodeInvalid:
		return connect.CodeInvalidArgument
	case spec.CodeNotFound:
		return connect.CodeNotFound
	case spec.CodeExists:
		return connect.CodeAlreadyExists
	case spec.CodeConflict:
		return connect.CodeAborted
	case spec.CodeDenied:
		return connect.CodePermissionDenied
	case spec.CodeUnknownUser:
		return connect.CodeUnauthenticated
	case spec.CodeTooOld:
		return connect.CodeFailedPrecondition
	case spec.CodeNotLeader, spec.CodeUnavailable:
		return connect.CodeUnavailable
	case spec.CodeTimeout:
		return connect.CodeDeadlineExceeded
	case spec.CodeExhausted:
		return connect.CodeResourceExhausted
	case spec.CodeInternal:
	}
	return connect.CodeInternal
}

// SpecCode is the nearest code of ours, for errors that came without a detail.
func SpecCode(c connect.Code) spec.Code {
	switch c {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return spec.CodeInvalid
	case connect.CodeNotFound:
		return spec.CodeNotFound
	case connect.CodeAlreadyExists:
		return spec.CodeExists
	case connect.CodeAborted:
		return spec.CodeConflict
	case connect.CodePermissionDenied:
		return spec.CodeDenied
	case connect.CodeUnauthenticated:
		return spec.CodeUnknownUser
	case connect.CodeFailedPrecondition:
		return spec.CodeConflict
	case connect.CodeUnavailable, connect.CodeCanceled:
		return spec.CodeUnavailable
	case connect.CodeDeadlineExceeded:
		return spec.CodeTimeout
	case connect.CodeResourceExhausted:
		return spec.CodeExhausted
	case connect.CodeUnknown, connect.CodeUnimplemented, connect.CodeInternal, connect.CodeDataLoss:
	}
	return spec.CodeInternal
}

// ToConnect makes the error that a handler answers with.
func ToConnect(err error) *connect.Error {
	if already, ok := errors.AsType[*connect.Error](err); ok {
		return already
	}
	if _, ok := errors.AsType[*spec.Error](err); !ok {
		switch {
		case errors.Is(err, context.Canceled):
			return connect.NewError(connect.CodeCanceled, err)
		case errors.Is(err, context.DeadlineExceeded):
			err = &spec.Error{Code: spec.CodeTimeout, Err: err}
		}
	}
	code := spec.CodeOf(err)
	out := connect.NewError(ConnectCode(code), err)
	fields := fieldsOf(err, nil)
	detail, derr := connect.NewErrorDetail(&dhowv1.ErrorDetail{Code: string(code), Fields: fields[:min(len(fields), maxFields)], Untouched: spec.Untouched(err)})
	if derr == nil {
		out.AddDetail(detail)
	}
	return out
}

// fieldsOf finds the errors about fields that err is made of.
func fieldsOf(err error, into []*dhowv1.FieldError) []*dhowv1.FieldError {
	switch e := err.(type) { //nolint:errorlint // the tree is walked node by node
	case *spec.Error:
		if e.Path == "" {
			return fieldsOf(e.Err, into)
		}
		bare := *e
		bare.Path = ""
		return append(into, &dhowv1.FieldError{Path: e.Path, Message: bare.Error()})
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			into = fieldsOf(one, into)
		}
	}
	return into
}

// FromConnect makes what a client returns: a *spec.Error, or several joined
// when they are about fields. A nil error and the context's own stay.
func FromConnect(err error) error {
	var ce *connect.Error
	if err == nil || !errors.As(err, &ce) {
		return err
	}
	if ce.Code() == connect.CodeCanceled && errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if own, ok := errors.AsType[*spec.Error](err); ok && !connect.IsWireError(err) {
		// The client's own: it has not reached any server.
		return own
	}
	for _, d := range ce.Details() {
		v, verr := d.Value()
		detail, ok := v.(*dhowv1.ErrorDetail)
		if verr != nil || !ok {
			continue
		}
		code := spec.Code(detail.GetCode())
		if len(detail.GetFields()) == 0 {
			return &spec.Error{Code: code, Message: ce.Message(), Untouched: detail.GetUntouched()}
		}
		var all []error
		for _, f := range detail.GetFields() {
			all = append(all, &spec.Error{Code: code, Path: f.GetPath(), Message: f.GetMessage()})
		}
		if len(all) == 1 {
			return all[0]
		}
		return errors.Join(all...)
	}
	code := SpecCode(ce.Code())
	if ce.Code() == connect.CodeUnknown && !connect.IsWireError(err) {
		// What the network said: the connection broke before the answer came.
		code = spec.CodeUnavailable
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &spec.Error{Code: spec.CodeTimeout, Message: "no answer in time", Err: context.DeadlineExceeded}
	}
	// The cause is kept for errors.Is on what the network said.
	return &spec.Error{Code: code, Err: cause{ce}}
}

// cause shows a Connect error without its code in front.
type cause struct{ e *connect.Error }

func (c cause) Error() string { return c.e.Message() }
func (c cause) Unwrap() error { return c.e }
