package broker

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// serviceDesc serves both methods as streams, also the unary one, which looks the
// same on the wire: only there does grpc-go let us decode the request ourselves.
var serviceDesc = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*any)(nil),
	Streams: []grpc.StreamDesc{
		{
			StreamName: "Publish", ClientStreams: true, ServerStreams: true,
			Handler: func(service any, s grpc.ServerStream) error { return answer(s, service.(*Broker), (*Broker).publish) },
		},
		{
			StreamName: "PublishBatch",
			Handler: func(service any, s grpc.ServerStream) error {
				return answer(s, service.(*Broker), (*Broker).publishBatch)
			},
		},
	},
	Metadata: raffsyncv1.File_raffsync_v1_ingest_proto.Path(),
}

const serviceName = "raffsync.v1.IngestService"

func (b *Broker) newServer() (*grpc.Server, *health.Server) {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newRawCodec()),
		grpc.MaxRecvMsgSize(maxReceiveBytes),
		grpc.MaxConcurrentStreams(maxStreamsPerConnection),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.InitialWindowSize(streamFlowWindow),
		grpc.InitialConnWindowSize(connectionFlowWindow),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: connectionIdle,
			Time:              keepaliveTime,
			Timeout:           keepaliveTimeout,
			MaxConnectionAge:  b.config.ConnectionAge,
			// grpc-go spreads the age by a tenth both ways. Streams are asked to go when
			// new ones surely go to another connection (untilDrain), and have their time.
			MaxConnectionAgeGrace: b.config.ConnectionAge*2/5 + b.config.DrainTimeout + flushTimeout,
		}),
		grpc.StatsHandler(connectionClock{}),
	}
	if b.config.Credentials != nil {
		options = append(options, grpc.Creds(b.config.Credentials))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&serviceDesc, b)
	healthy := health.NewServer()
	healthy.SetServingStatus(serviceName, healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(server, healthy)
	if b.config.Reflection {
		reflection.Register(server)
	}
	return server, healthy
}

// newInnerServer serves the same service, without TLS, to the process itself.
func (b *Broker) newInnerServer() *grpc.Server {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(newRawCodec()),
		grpc.MaxRecvMsgSize(maxReceiveBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.InitialWindowSize(streamFlowWindow),
		grpc.InitialConnWindowSize(connectionFlowWindow),
		grpc.WaitForHandlers(true),
	)
	server.RegisterService(&serviceDesc, b)
	return server
}

// answer turns what a method returns, or its panic, into what the caller is told. It
// is no interceptor, since grpc-go calls those for true streams only.
func answer(s grpc.ServerStream, b *Broker, method func(*Broker, grpc.ServerStream) error) error {
	return statusOf(s.Context(), b.log, guard(func() error { return method(b, s) }))
}

// guard turns a panic into an error with its stack.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// connectionClock notes when a connection began, for the streams on it.
type connectionClock struct{}

type connectionStart struct{}

func (connectionClock) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionStart{}, time.Now())
}

func (connectionClock) HandleConn(context.Context, stats.ConnStats)                     {}
func (connectionClock) HandleRPC(context.Context, stats.RPCStats)                       {}
func (connectionClock) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// never is for timers that shall not fire.
const never = time.Duration(math.MaxInt64)

// untilDrain is how long a stream has until its connection is so old, by a fifth more
// than its age, that the client knows and opens new streams on another.
func (b *Broker) untilDrain(ctx context.Context) time.Duration {
	start, ok := ctx.Value(connectionStart{}).(time.Time)
	if !ok {
		return never // a connection from inside does not age
	}
	return time.Until(start.Add(b.config.ConnectionAge + b.config.ConnectionAge/5))
}
