/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err_codes: the closed table of error codes. X(CODE, heal, sentence).
 *
 * The name of a row is its token in status, events and problem documents. A row is never renamed or
 * reused; new ones are added to their group. Every row has a test that provokes it.
 */
#ifndef PKG_BASE_ERR_CODES_H
#define PKG_BASE_ERR_CODES_H

/* clang-format off */
#define ERR_CODES(X) \
    X(NONE,                  ERR_HEAL_NEVER,  "No error.") \
    /* the agent itself */ \
    X(INTERNAL,              ERR_HEAL_TIME,   "The agent met a condition that it does not know; please report it.") \
    X(NO_MEMORY,             ERR_HEAL_TIME,   "The card has no memory left for this step.") \
    X(DISK_FULL,             ERR_HEAL_TIME,   "A file system of the card is full.") \
    X(IO,                    ERR_HEAL_TIME,   "A file of the card could not be read or written.") \
    X(CANCELLED,             ERR_HEAL_TIME,   "The step was given up because something newer is wanted or the agent stops.") \
    X(TIMEOUT,               ERR_HEAL_TIME,   "The step did not finish before its deadline.") \
    X(LIMIT,                 ERR_HEAL_NEVER,  "Something is larger, deeper or longer than the agent accepts.") \
    X(STATE_BROKEN,          ERR_HEAL_TIME,   "The agent's database could not be read and was set aside.") \
    X(CLOCK,                 ERR_HEAL_TIME,   "The card's clock is earlier than a time that is known to have passed.") \
    X(CONFIG_INVALID,        ERR_HEAL_CONFIG, "The agent's configuration is not valid.") \
    X(NOT_FOUND,             ERR_HEAL_NEVER,  "The named thing does not exist here.") \
    X(USAGE,                 ERR_HEAL_NEVER,  "The command or request is not formed as the manual says.") \
    X(ACCESS_DENIED,         ERR_HEAL_CONFIG, "The caller may not do this.") \
    /* any network peer */ \
    X(UNREACHABLE,           ERR_HEAL_TIME,   "The other side could not be reached.") \
    X(TLS,                   ERR_HEAL_TIME,   "The secure connection could not be made or trusted.") \
    X(STALLED,               ERR_HEAL_TIME,   "The other side stopped sending.") \
    X(TRUNCATED,             ERR_HEAL_TIME,   "The other side ended the answer before it was complete.") \
    X(UNAUTHORIZED,          ERR_HEAL_CONFIG, "The other side did not accept the credentials.") \
    X(THROTTLED,             ERR_HEAL_TIME,   "The other side asks to come back later.") \
    X(SERVER_ERROR,          ERR_HEAL_TIME,   "The other side failed to answer the request.") \
    X(PROTOCOL,              ERR_HEAL_TIME,   "The other side answered something that the protocol does not allow.") \
    X(REDIRECT_REFUSED,      ERR_HEAL_NEVER,  "The other side redirects to a place that is not allowed.") \
    /* git source */ \
    X(SOURCE_UNREACHABLE,    ERR_HEAL_TIME,   "The desired state could not be fetched.") \
    X(SOURCE_INVALID,        ERR_HEAL_NEVER,  "The repository holds something that the agent does not accept.") \
    X(COMMIT_UNSIGNED,       ERR_HEAL_NEVER,  "The commit carries no signature, and the card demands one.") \
    X(COMMIT_BAD_SIGNATURE,  ERR_HEAL_NEVER,  "The commit's signature does not fit its content.") \
    X(COMMIT_UNKNOWN_SIGNER, ERR_HEAL_NEVER,  "The commit is signed by somebody who is not allowed to sign.") \
    X(COMMIT_NOT_DESCENDANT, ERR_HEAL_NEVER,  "The branch no longer contains the commit that was last accepted.") \
    /* documents */ \
    X(DOCUMENT_SYNTAX,       ERR_HEAL_NEVER,  "A document is not well-formed YAML or JSON.") \
    X(DOCUMENT_INVALID,      ERR_HEAL_NEVER,  "A document lacks something or has a wrong value.") \
    X(UNSUPPORTED,           ERR_HEAL_NEVER,  "A document asks for something that the agent does not carry out.") \
    X(ARCHIVE_UNSAFE,        ERR_HEAL_NEVER,  "An archive holds a path, link or size that is not allowed.") \
    X(NOT_ADMITTED,          ERR_HEAL_CONFIG, "The card's configuration forbids what the document asks.") \
    X(DOES_NOT_FIT,          ERR_HEAL_TIME,   "The card does not have the resources that the document asks.") \
    X(PORT_IN_USE,           ERR_HEAL_TIME,   "A port that the document asks is taken.") \
    /* registries */ \
    X(REFERENCE_INVALID,     ERR_HEAL_NEVER,  "An artifact reference is not well-formed.") \
    X(ARTIFACT_NOT_FOUND,    ERR_HEAL_TIME,   "The registry does not have this artifact.") \
    X(ARTIFACT_INVALID,      ERR_HEAL_NEVER,  "A manifest, index or image configuration is not well-formed.") \
    X(NO_PLATFORM,           ERR_HEAL_NEVER,  "The artifact has no image for this card's processor.") \
    X(WRONG_CONTENT,         ERR_HEAL_TIME,   "The registry sent bytes that do not have the promised digest or size.") \
    /* trust: names as in the reason codes of the trust policy */ \
    X(NO_RULE,               ERR_HEAL_CONFIG, "No rule of the trust policy covers this artifact.") \
    X(NO_SIGNATURE,          ERR_HEAL_TIME,   "The artifact carries no signature of the demanded kind.") \
    X(BAD_SIGNATURE,         ERR_HEAL_TIME,   "No signature of the artifact was made by a demanded signer.") \
    X(WRONG_DIGEST,          ERR_HEAL_TIME,   "The signature speaks of another artifact.") \
    X(WRONG_REFERENCE,       ERR_HEAL_TIME,   "The signature was made for another repository.") \
    X(EXPIRED,               ERR_HEAL_CONFIG, "The rule, the key or the signature is no longer, or not yet, valid.") \
    X(POLICY_INVALID,        ERR_HEAL_CONFIG, "The trust policy is not valid.") \
    /* containers */ \
    X(RUNTIME_UNAVAILABLE,   ERR_HEAL_TIME,   "containerd does not answer.") \
    X(RUNTIME_FAILED,        ERR_HEAL_TIME,   "containerd or the OCI runtime refused a step.") \
    X(CONTAINER_START,       ERR_HEAL_NEVER,  "The container's process could not be started.") \
    X(CONTAINER_EXITED,      ERR_HEAL_NEVER,  "The container ended instead of staying up.")
/* clang-format on */

#endif
