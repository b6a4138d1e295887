// Package sensors implements the service of sensors.proto, in memory.
//
// Nothing in it knows of braid: a service is written against storj.io/drpc's
// interfaces and helpers, and runs unchanged on either library's server.
package sensors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmetadata"

	"braid/examples/sensors/sensorspb"
)

const (
	// SiteKey is the metadata key that names the site a call is about.
	SiteKey = "site"

	// DefaultSite is the site of calls that name none.
	DefaultSite = "default"
)

// The codes of the errors that the service returns. As drpcerr.Unimplemented
// does, they follow the numbering of gRPC.
const (
	// CodeInvalid says that a request makes no sense, whatever is recorded.
	CodeInvalid = 3

	// CodeNotFound says that there are no readings of a sensor.
	CodeNotFound = 5
)

// Service is a sensorspb.DRPCSensorsServer that keeps readings in memory. It is
// ready to be used as it is, by any number of calls at a time.
type Service struct {
	// A service that embeds the unimplemented one goes on compiling when its
	// .proto file gains methods.
	sensorspb.DRPCSensorsUnimplementedServer

	mu       sync.Mutex
	readings map[key][]*sensorspb.Reading // never changed once stored
}

var _ sensorspb.DRPCSensorsServer = (*Service)(nil)

// key identifies a sensor.
type key struct{ site, sensor string }

// Describe implements sensorspb.DRPCSensorsServer.
func (s *Service) Describe(ctx context.Context, in *sensorspb.DescribeRequest) (*sensorspb.Summary, error) {
	k := key{site(ctx), in.GetSensor()}
	readings, err := s.find(k)
	if err != nil {
		return nil, err
	}
	low, high, mean := stats(readings)
	return &sensorspb.Summary{
		Site:   k.site,
		Sensor: k.sensor,
		Count:  int64(len(readings)),
		Min:    low,
		Max:    high,
		Mean:   mean,
	}, nil
}

// Record implements sensorspb.DRPCSensorsServer.
func (s *Service) Record(stream sensorspb.DRPCSensors_RecordStream) error {
	out := &sensorspb.RecordResponse{Site: site(stream.Context())}
	for {
		reading, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(out)
		}
		if err != nil {
			return err
		}
		if err := validate(reading); err != nil {
			return err
		}
		s.add(key{out.GetSite(), reading.GetSensor()}, reading)
		out.Count++
	}
}

// History implements sensorspb.DRPCSensorsServer.
func (s *Service) History(in *sensorspb.HistoryRequest, stream sensorspb.DRPCSensors_HistoryStream) error {
	if in.GetLimit() < 0 {
		return drpcerr.WithCode(fmt.Errorf("limit %d is negative", in.GetLimit()), CodeInvalid)
	}
	readings, err := s.find(key{site(stream.Context()), in.GetSensor()})
	if err != nil {
		return err
	}
	if n := int64(len(readings)); in.GetLimit() > 0 && in.GetLimit() < n {
		readings = readings[n-in.GetLimit():]
	}
	for _, reading := range readings {
		if err := stream.Send(reading); err != nil {
			return err
		}
	}
	return nil
}

// Check implements sensorspb.DRPCSensorsServer.
func (s *Service) Check(stream sensorspb.DRPCSensors_CheckStream) error {
	site := site(stream.Context())
	for {
		reading, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := validate(reading); err != nil {
			return err
		}
		if err := stream.Send(&sensorspb.Verdict{
			Reading: reading,
			Level:   s.level(key{site, reading.GetSensor()}, reading.GetValue()),
		}); err != nil {
			return err
		}
	}
}

// add stores the reading.
func (s *Service) add(k key, reading *sensorspb.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readings == nil {
		s.readings = make(map[key][]*sensorspb.Reading)
	}
	s.readings[k] = append(s.readings[k], reading)
}

// find returns the readings of a sensor, or an error if there are none.
func (s *Service) find(k key) ([]*sensorspb.Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	readings := s.readings[k]
	if len(readings) == 0 {
		return nil, drpcerr.WithCode(fmt.Errorf("no readings of sensor %q", k.sensor), CodeNotFound)
	}
	// Later readings are appended behind the ones in this slice, so it stays
	// as it is without the lock. Clip keeps the caller from appending too.
	return slices.Clip(readings), nil
}

// level tells how the value compares to the readings of the sensor.
func (s *Service) level(k key, value float64) sensorspb.Verdict_Level {
	readings, err := s.find(k)
	if err != nil {
		return sensorspb.Verdict_LEVEL_UNSPECIFIED
	}
	switch low, high, _ := stats(readings); {
	case value < low:
		return sensorspb.Verdict_LEVEL_LOW
	case value > high:
		return sensorspb.Verdict_LEVEL_HIGH
	default:
		return sensorspb.Verdict_LEVEL_NORMAL
	}
}

// stats returns the lowest, the highest and the average of the values of the
// readings, of which there is at least one.
func stats(readings []*sensorspb.Reading) (low, high, mean float64) {
	low, high = math.Inf(1), math.Inf(-1)
	var sum float64
	for _, reading := range readings {
		value := reading.GetValue()
		low, high, sum = min(low, value), max(high, value), sum+value
	}
	return low, high, sum / float64(len(readings))
}

// validate returns an error if the reading must not be stored.
func validate(reading *sensorspb.Reading) error {
	switch value := reading.GetValue(); {
	case reading.GetSensor() == "":
		return drpcerr.WithCode(errors.New("reading names no sensor"), CodeInvalid)
	case math.IsNaN(value) || math.IsInf(value, 0):
		return drpcerr.WithCode(fmt.Errorf("reading of sensor %q is not a number", reading.GetSensor()), CodeInvalid)
	default:
		return nil
	}
}

// site returns the site that a call with the context is about.
func site(ctx context.Context) string {
	if metadata, ok := drpcmetadata.Get(ctx); ok && metadata[SiteKey] != "" {
		return metadata[SiteKey]
	}
	return DefaultSite
}
