package wire

import "encoding/binary"

// ChatEvent says what a ChatFrame is.
type ChatEvent uint8

const (
	// Join is the first message of a client: which room, and under what name.
	Join ChatEvent = ChatEvent(tagJoin)
	// Welcome is the answer to it: from now on, nothing said in the room is
	// missed.
	Welcome ChatEvent = ChatEvent(tagWelcome)
	// Line is what a client says to the room.
	Line ChatEvent = ChatEvent(tagChatLine)
	// Heard is a line as it reaches everybody in the room, its author included.
	Heard ChatEvent = ChatEvent(tagChatHeard)
)

// ChatFrame is what both ends send on a Chat stream. Only the fields of its
// event are sent.
type ChatFrame struct {
	Event ChatEvent

	Room    string // Join: at most MaxName
	Name    string // Join: one's own; Heard: the author's; at most MaxName
	Members uint64 // Welcome: how many are in the room

	// Line and Heard.
	Number uint64 // counts the author's lines from 1
	Last   bool   // the author has no more to say
	Text   string // at most MaxText
}

func (m *ChatFrame) check() error {
	switch m.Event {
	case Join:
		if m.Room == "" || m.Name == "" {
			return malformed("the room or the name is empty")
		}
		if err := limit("the room", len(m.Room), MaxName); err != nil {
			return err
		}
		return limit("the name", len(m.Name), MaxName)
	case Heard:
		if err := limit("the name", len(m.Name), MaxName); err != nil {
			return err
		}
		return limit("the text", len(m.Text), MaxText)
	case Line:
		return limit("the text", len(m.Text), MaxText)
	case Welcome:
		return nil
	}
	return malformed("event %d is not one of a chat", m.Event)
}

func (m *ChatFrame) appendTo(buf []byte) []byte {
	buf = append(buf, byte(m.Event))
	switch m.Event {
	case Join:
		buf = appendBytes(buf, m.Room)
		buf = appendBytes(buf, m.Name)
	case Welcome:
		buf = binary.AppendUvarint(buf, m.Members)
	case Heard:
		buf = appendBytes(buf, m.Name)
		buf = m.appendLine(buf)
	case Line:
		buf = m.appendLine(buf)
	}
	return buf
}

func (m *ChatFrame) appendLine(buf []byte) []byte {
	buf = binary.AppendUvarint(buf, m.Number)
	buf = appendFlag(buf, m.Last)
	return appendBytes(buf, m.Text)
}

func (m *ChatFrame) parse(t tag, d *decoder) bool {
	*m = ChatFrame{Event: ChatEvent(t)}
	switch m.Event {
	case Join:
		m.Room = string(d.bytes("the room", MaxName))
		m.Name = string(d.bytes("the name", MaxName))
	case Welcome:
		m.Members = d.number("the number of members")
	case Heard:
		m.Name = string(d.bytes("the name", MaxName))
		m.parseLine(d)
	case Line:
		m.parseLine(d)
	default:
		return false
	}
	return true
}

func (m *ChatFrame) parseLine(d *decoder) {
	m.Number = d.number("the line's number")
	m.Last = d.flag("the mark of the last line")
	m.Text = string(d.bytes("the text", MaxText))
}
