// Frames to and from Linux: TAP devices, packet sockets, streams of frames. Every function returns a value >= 0, or
// -errno.
#ifndef CKVM_NETWORK_H
#define CKVM_NETWORK_H
#include <stdint.h>

#pragma clang assume_nonnull begin

/// Opens a TAP device by name, making it if there is none of that name and the caller may: at most `most` queues of it, one if it was
/// made for one. Frames carry a virtio header of CKVM_FRAME_HEADER bytes. Never waits. Returns how many were opened.
int ckvm_tap_open(const char *name, int *queues, int most);
/// Readies the queues of a TAP device that somebody else opened; returns the length of the header its frames carry, 0 for none.
/// -EXDEV if they are of different devices.
int ckvm_tap_adopt(const int *queues, int count);
/// A packet socket on an interface, which receives what comes in there. Frames carry a virtio header. Never waits.
int ckvm_packet_open(const char *interface);
/// Two connected stream sockets. The first never waits; the second is inherited by programs.
int ckvm_stream_pair(int *_Nonnull ends);

#define CKVM_FRAME_HEADER 10

/// What a frame's header says of it.
struct ckvm_frame {
  uint32_t length;  // more than `size` if it was longer than that
  uint16_t checksum_start, checksum_offset;
  uint8_t needs_checksum;
};
/// Reads frames, each into `size` bytes of its own, at most `count`, without waiting. Returns how many.
int ckvm_frames_receive(int fd, int header, void *buffers, uint32_t size, struct ckvm_frame *frames, int count);
/// Writes one frame; -EAGAIN if there is no room.
int ckvm_frame_send(int fd, int header, const void *frame, uint32_t length);
/// Reads what a stream holds, at most `count` bytes, without waiting; 0 at its end.
int ckvm_stream_read(int fd, void *bytes, int count);

#pragma clang assume_nonnull end
#endif
