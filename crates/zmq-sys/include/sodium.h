/* The part of libsodium's interface that libzmq 4.3.5 calls. src/sodium.rs has the functions. */
#ifndef ZMQ_SYS_SODIUM_H
#define ZMQ_SYS_SODIUM_H

#include <stddef.h>

/* From 7.4 on libzmq seals and opens messages in their place. */
#define SODIUM_LIBRARY_VERSION_MAJOR 7
#define SODIUM_LIBRARY_VERSION_MINOR 4

#define crypto_box_PUBLICKEYBYTES 32U
#define crypto_box_SECRETKEYBYTES 32U
#define crypto_box_BEFORENMBYTES 32U
#define crypto_box_NONCEBYTES 24U
#define crypto_box_MACBYTES 16U
#define crypto_box_ZEROBYTES 32U
#define crypto_box_BOXZEROBYTES 16U
#define crypto_secretbox_KEYBYTES 32U
#define crypto_secretbox_NONCEBYTES 24U
#define crypto_secretbox_ZEROBYTES 32U
#define crypto_secretbox_BOXZEROBYTES 16U

#ifdef __cplusplus
extern "C" {
#endif

int sodium_init (void);
void *sodium_allocarray (size_t count, size_t size);
void sodium_free (void *memory);

void randombytes (unsigned char *bytes, unsigned long long len);
int randombytes_close (void);

int crypto_scalarmult_base (unsigned char *public_key, const unsigned char *secret_key);
int crypto_box_keypair (unsigned char *public_key, unsigned char *secret_key);
int crypto_box_beforenm (unsigned char *shared, const unsigned char *public_key, const unsigned char *secret_key);

int crypto_box (unsigned char *sealed, const unsigned char *message, unsigned long long len,
                const unsigned char *nonce, const unsigned char *public_key, const unsigned char *secret_key);
int crypto_box_open (unsigned char *message, const unsigned char *sealed, unsigned long long len,
                     const unsigned char *nonce, const unsigned char *public_key, const unsigned char *secret_key);
int crypto_box_afternm (unsigned char *sealed, const unsigned char *message, unsigned long long len,
                        const unsigned char *nonce, const unsigned char *shared);
int crypto_box_open_afternm (unsigned char *message, const unsigned char *sealed, unsigned long long len,
                             const unsigned char *nonce, const unsigned char *shared);
int crypto_box_easy_afternm (unsigned char *sealed, const unsigned char *message, unsigned long long len,
                             const unsigned char *nonce, const unsigned char *shared);
int crypto_box_open_easy_afternm (unsigned char *message, const unsigned char *sealed, unsigned long long len,
                                  const unsigned char *nonce, const unsigned char *shared);

int crypto_secretbox (unsigned char *sealed, const unsigned char *message, unsigned long long len,
                      const unsigned char *nonce, const unsigned char *key);
int crypto_secretbox_open (unsigned char *message, const unsigned char *sealed, unsigned long long len,
                           const unsigned char *nonce, const unsigned char *key);

#ifdef __cplusplus
}
#endif

#endif
