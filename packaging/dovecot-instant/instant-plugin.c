/* Tells clients in IDLE about changes of their mailbox at once.

   Dovecot notices a change in a maildir by inotify, and then waits NOTIFY_DELAY_MSECS before it
   looks and tells: 500, a constant of mailbox-watch.c. Here new/ and cur/ are watched beside it.
   A change makes the same callback be called as soon as the mailbox is not locked, and once more
   after Dovecot's own delay: so nobody hears of a change later than without this plugin.

   Who delivers moves the message into new/ while it holds the lock of dovecot-uidlist, as does
   who looks. Were this process to wait for that lock inside Dovecot, it would do so by an inotify
   instance of its own, and closing one of those takes the kernel up to 20 ms. For the same reason
   several clients of one mailbox look one after the other; new/ itself is what they lock for that.

   Both watches of a directory are one to the kernel, and Dovecot calls the one that was added
   last, this one. So there is no inotify instance or watch more than without. Dovecot's own watch
   stays what hibernation takes with it, and its look every 30 s what remains where inotify's
   limits are reached; of those Dovecot itself has said so then, when it added its watch.

   The same source is for Dovecot 2.3 and 2.4. A mailbox that is being looked at may be freed by
   that: nothing of it is touched after telling. */

#include "lib.h"
#include "array.h"
#include "ioloop.h"
#include "time-util.h"
#include "mail-storage-private.h"
#include "mail-storage-hooks.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

/* So long after a look the next one waits: mail that comes in a burst is found by few of them. */
#define GAP_MSECS 10
/* How often it is asked whether the mailbox is still locked. */
#define LOCKED_MSECS 1
/* What NOTIFY_DELAY_MSECS is. */
#define AGAIN_MSECS 500
#define LOCK_NAME "dovecot-uidlist.lock"

#define INSTANT_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, instant_storage_module)

struct instant_mailbox {
	union mailbox_module_context module_ctx;
	struct io *io_new, *io_cur;
	struct timeout *to_look, *to_look_again;
	struct timeval looked;
	const char *lock, *path_new;
};

extern const char *instant_plugin_version;
void instant_plugin_init(struct module *module);
void instant_plugin_deinit(void);

const char *instant_plugin_version = DOVECOT_ABI_VERSION;

static MODULE_CONTEXT_DEFINE_INIT(instant_storage_module,
				  &mail_storage_module_register);

/* Whether it is this process's turn to look; *fd_r is to be closed after that. */
static bool instant_my_turn(const struct instant_mailbox *ibox, int *fd_r)
{
	*fd_r = -1;
	if (access(ibox->lock, F_OK) == 0)
		return FALSE;
	*fd_r = open(ibox->path_new, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *fd_r == -1 || flock(*fd_r, LOCK_EX | LOCK_NB) == 0;
}

static void instant_tell(struct instant_mailbox *ibox, struct mailbox *box)
{
	timeout_remove(&ibox->to_look);
	ibox->looked = ioloop_timeval;
	box->notify_callback(box, box->notify_context);
}

static void instant_look(struct mailbox *box)
{
	struct instant_mailbox *ibox = INSTANT_CONTEXT(box);
	int fd;

	if (instant_my_turn(ibox, &fd)) {
		instant_tell(ibox, box);
	} else {
		/* Not for ever: instant_look_again ends it. */
		timeout_remove(&ibox->to_look);
		ibox->to_look = timeout_add_short(LOCKED_MSECS, instant_look, box);
	}
	if (fd != -1)
		(void)close(fd);
}

static void instant_look_again(struct mailbox *box)
{
	struct instant_mailbox *ibox = INSTANT_CONTEXT(box);

	timeout_remove(&ibox->to_look_again);
	instant_tell(ibox, box);
}

/* A clock that was set back ends the wait. */
static unsigned int instant_wait_msecs(const struct instant_mailbox *ibox)
{
	long long since = timeval_diff_msecs(&ioloop_timeval, &ibox->looked);

	return since >= 0 && since < GAP_MSECS ? GAP_MSECS - since : 0;
}

static void instant_changed(struct mailbox *box)
{
	struct instant_mailbox *ibox = INSTANT_CONTEXT(box);

	/* As Dovecot does: no need to look whether inotify has missed something. */
	if (box->to_notify != NULL)
		timeout_reset(box->to_notify);
	if (ibox->to_look == NULL) {
		ibox->to_look = timeout_add_short(instant_wait_msecs(ibox),
						  instant_look, box);
	}
	if (ibox->to_look_again == NULL) {
		ibox->to_look_again = timeout_add_short(AGAIN_MSECS,
							instant_look_again, box);
	}
}

static void instant_watch(struct mailbox *box)
{
	struct instant_mailbox *ibox = INSTANT_CONTEXT(box);
	const char *path, *control;

	if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_MAILBOX, &path) <= 0 ||
	    mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_CONTROL, &control) <= 0)
		return;
	if (ibox->lock == NULL) {
		ibox->lock = p_strconcat(box->pool, control, "/"LOCK_NAME, NULL);
		ibox->path_new = p_strconcat(box->pool, path, "/new", NULL);
	}
	(void)io_add_notify(ibox->path_new, instant_changed, box, &ibox->io_new);
	(void)io_add_notify(t_strconcat(path, "/cur", NULL),
			    instant_changed, box, &ibox->io_cur);
}

static void instant_unwatch(struct instant_mailbox *ibox)
{
	io_remove(&ibox->io_new);
	io_remove(&ibox->io_cur);
	timeout_remove(&ibox->to_look);
	timeout_remove(&ibox->to_look_again);
}

/* Called when somebody wants to be told, and, without a callback, when nobody does any more. */
static void instant_notify_changes(struct mailbox *box)
{
	struct instant_mailbox *ibox = INSTANT_CONTEXT(box);

	instant_unwatch(ibox);
	ibox->module_ctx.super.notify_changes(box);
	if (box->notify_callback != NULL)
		instant_watch(box);
}

static void instant_close(struct mailbox *box)
{
	struct instant_mailbox *ibox = INSTANT_CONTEXT(box);

	instant_unwatch(ibox);
	ibox->module_ctx.super.close(box);
}

static void instant_mailbox_allocated(struct mailbox *box)
{
	struct mailbox_vfuncs *v = box->vlast;
	struct instant_mailbox *ibox;

	if (strcmp(box->storage->name, "maildir") != 0)
		return;
	ibox = p_new(box->pool, struct instant_mailbox, 1);
	ibox->module_ctx.super = *v;
	box->vlast = &ibox->module_ctx.super;
	v->notify_changes = instant_notify_changes;
	v->close = instant_close;
	MODULE_CONTEXT_SET(box, instant_storage_module, ibox);
}

static struct mail_storage_hooks instant_hooks = {
	.mailbox_allocated = instant_mailbox_allocated
};

void instant_plugin_init(struct module *module)
{
	mail_storage_hooks_add(module, &instant_hooks);
}

void instant_plugin_deinit(void)
{
	mail_storage_hooks_remove(&instant_hooks);
}
