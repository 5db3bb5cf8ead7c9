#define _GNU_SOURCE
#include "ckvm_network.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(struct virtio_net_hdr) == CKVM_FRAME_HEADER, "header length");

static int copy_name(char *to, const char *name) {
  size_t length = strlen(name);
  if (length == 0 || length >= IFNAMSIZ) return -EINVAL;
  memset(to, 0, IFNAMSIZ);
  memcpy(to, name, length);
  return 0;
}

// Opens one queue of a device.
static int tap_queue(struct ifreq *request, short flags) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -errno;
  int size = CKVM_FRAME_HEADER;
  request->ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
  if (ioctl(fd, TUNSETIFF, request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) {
    int result = -errno;
    close(fd);
    return result;
  }
  return fd;
}

int ckvm_tap_open(const char *name, int *queues, int most) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  int result = copy_name(request.ifr_name, name);
  if (result < 0 || most < 1) return result < 0 ? result : -EINVAL;
  // A device was made for one queue or for several, and is opened as it was made.
  short flags = most > 1 ? IFF_MULTI_QUEUE : 0;
  queues[0] = tap_queue(&request, flags);
  if (queues[0] == -EINVAL) {
    flags ^= IFF_MULTI_QUEUE;
    queues[0] = tap_queue(&request, flags);
  }
  if (queues[0] < 0) return queues[0];
  int count = 1;
  while (flags != 0 && count < most) {
    queues[count] = tap_queue(&request, flags);
    // Others may have the rest of its queues.
    if (queues[count] < 0) break;
    count++;
  }
  return count;
}

int ckvm_tap_adopt(const int *queues, int count) {
  if (count < 1) return -EINVAL;
  int header = 0;
  struct ifreq first;
  for (int i = 0; i < count; i++) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(queues[i], TUNGETIFF, &request) < 0) return -errno;
    if (!(request.ifr_flags & IFF_TAP) || !(request.ifr_flags & IFF_NO_PI)) return -EINVAL;
    if (i == 0) first = request;
    if (strncmp(first.ifr_name, request.ifr_name, IFNAMSIZ) != 0) return -EXDEV;
    int flags = fcntl(queues[i], F_GETFL);
    if (flags < 0 || fcntl(queues[i], F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(queues[i], F_SETFD, FD_CLOEXEC) < 0)
      return -errno;
    if (!(request.ifr_flags & IFF_VNET_HDR)) continue;
    header = CKVM_FRAME_HEADER;
    if (ioctl(queues[i], TUNSETVNETHDRSZ, &header) < 0) return -errno;
  }
  return header;
}

int ckvm_packet_open(const char *interface) {
  char name[IFNAMSIZ];
  int result = copy_name(name, interface);
  if (result < 0) return result;
  unsigned index = if_nametoindex(name);
  if (index == 0) return -errno;
  // With protocol 0 it receives nothing until it is bound.
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int on = 1;
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index};
  struct packet_mreq everything = {.mr_ifindex = (int)index, .mr_type = PACKET_MR_PROMISC};
  if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0 ||
      setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0 ||
      setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &everything, sizeof everything) < 0 ||
      bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    result = -errno;
    close(fd);
    return result;
  }
  return fd;
}

int ckvm_stream_pair(int *ends) {
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return -errno;
  if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(ends[1], F_SETFD, 0) < 0) return -errno;
  return 0;
}

int ckvm_frames_receive(int fd, int header, void *buffers, uint32_t size, struct ckvm_frame *frames, int count) {
  int done = 0;
  while (done < count) {
    struct virtio_net_hdr start;
    char excess;
    memset(&start, 0, sizeof start);
    struct iovec parts[3] = {{&start, (size_t)header}, {(char *)buffers + (size_t)done * size, size}, {&excess, 1}};
    ssize_t length = readv(fd, parts, 3);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return done > 0 ? done : -errno;
    if (length < header) return done;
    frames[done] = (struct ckvm_frame){
        .length = (uint32_t)(length - header),
        .checksum_start = start.csum_start,
        .checksum_offset = start.csum_offset,
        .needs_checksum = (start.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0,
    };
    done++;
  }
  return done;
}

int ckvm_frame_send(int fd, int header, const void *frame, uint32_t length) {
  struct virtio_net_hdr start;
  memset(&start, 0, sizeof start);
  struct iovec parts[2] = {{&start, (size_t)header}, {(void *)frame, length}};
  while (writev(fd, parts, 2) < 0)
    if (errno != EINTR) return -errno;
  return 0;
}

int ckvm_stream_read(int fd, void *bytes, int count) {
  ssize_t length;
  while ((length = read(fd, bytes, (size_t)count)) < 0)
    if (errno != EINTR) return -errno;
  return (int)length;
}
