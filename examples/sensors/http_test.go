package sensors_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"storj.io/drpc/drpchttp"

	"braid/examples/sensors"
	"braid/examples/sensors/sensorspb"
)

// post makes an HTTP request and returns the status and the body of the answer.
func post(t *testing.T, url, contentType, site string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(deadline(t), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("X-Drpc-Metadata", sensors.SiteKey+"="+site)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, data
}

// TestHTTP serves one mux over DRPC and over HTTP.
func TestHTTP(t *testing.T) {
	mux := newMux(t, new(sensors.Service))
	client := sensorspb.NewDRPCSensorsClient(dial(t, mux))
	server := httptest.NewServer(drpchttp.New(mux))
	defer server.Close()
	const prefix = "/braid.examples.sensors.Sensors/"

	if err := record(atSite(deadline(t), "home"), client, "attic", 20, 22); err != nil {
		t.Fatal(err)
	}

	t.Run("unary", func(t *testing.T) {
		status, body := post(t, server.URL+prefix+"Describe", "application/json", "home", []byte(`{"sensor": "attic"}`))
		var got sensorspb.Summary
		if err := protojson.Unmarshal(body, &got); err != nil || status != http.StatusOK {
			t.Fatalf("status %d, error %v, body %s", status, err, body)
		}
		if err := expect(&got, &sensorspb.Summary{
			Site: "home", Sensor: "attic", Count: 2, Min: 20, Max: 22, Mean: 21,
		}); err != nil {
			t.Error(err)
		}
	})

	t.Run("error", func(t *testing.T) {
		status, body := post(t, server.URL+prefix+"Describe", "application/json", "office", []byte(`{"sensor": "attic"}`))
		var got struct{ Code, Msg string }
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if status != http.StatusInternalServerError || got.Code != "drpcerr(5)" || got.Msg != `no readings of sensor "attic"` {
			t.Errorf("got status %d with %s", status, body)
		}
	})

	t.Run("unknown method", func(t *testing.T) {
		status, body := post(t, server.URL+prefix+"Missing", "application/json", "home", []byte(`{}`))
		if status == http.StatusOK || !bytes.Contains(body, []byte("unknown rpc")) {
			t.Errorf("got status %d with %s", status, body)
		}
	})

	t.Run("server stream", func(t *testing.T) {
		// The frames of grpc-web are a byte of flags, four bytes of length and
		// the data.
		request := []byte(`{"sensor": "attic"}`)
		request = append([]byte{0, 0, 0, 0, byte(len(request))}, request...)
		status, body := post(t, server.URL+prefix+"History", "application/grpc-web+json", "home", request)
		if status != http.StatusOK {
			t.Fatalf("status %d, body %q", status, body)
		}
		for _, value := range []float64{20, 22} {
			n := int(body[4])
			var got sensorspb.Reading
			if err := protojson.Unmarshal(body[5:5+n], &got); err != nil {
				t.Fatal(err)
			}
			if err := expect(&got, newReading("attic", value)); err != nil {
				t.Error(err)
			}
			body = body[5+n:]
		}
		if !bytes.Contains(body, []byte("grpc-status: 0")) {
			t.Errorf("the stream ends with %q", body)
		}
	})
}
