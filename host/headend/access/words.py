"""What the audit calls acts of access, and what the sign-in page says."""

from headend.audit import ACTIONS
from meterlink.labels import Text

SIGNED_IN = "sign_in"
SIGN_IN_FAILED = "sign_in_failed"
SIGNED_OUT = "sign_out"
PASSWORD_CHANGED = "password_changed"
SECOND_FACTOR_ON = "second_factor_on"
SECOND_FACTOR_OFF = "second_factor_off"
USER_ADDED = "user_added"
USER_CHANGED = "user_changed"
USER_RESET = "user_reset"
USER_UNLOCKED = "user_unlocked"
ROLE_GRANTED = "role_granted"
ROLE_ENDED = "role_ended"
CHANNEL_ADDED = "channel_added"
CHANNEL_CHANGED = "channel_changed"
CHANNEL_TOKEN = "channel_token"
CHANNEL_CLOSED = "channel_closed"
RULE_SET = "access_rule_set"

ACTIONS.update(
    {
        SIGNED_IN: ("signed in", "登录"),
        SIGN_IN_FAILED: ("could not sign in", "登录失败"),
        SIGNED_OUT: ("signed out", "退出登录"),
        PASSWORD_CHANGED: ("changed the own password", "修改密码"),
        SECOND_FACTOR_ON: ("turned the second factor on", "启用双重验证"),
        SECOND_FACTOR_OFF: ("turned the second factor off", "停用双重验证"),
        USER_ADDED: ("added a person", "新增用户"),
        USER_CHANGED: ("changed a person's account", "修改用户"),
        USER_RESET: ("gave a person a new password", "重置密码"),
        USER_UNLOCKED: ("unlocked a person's account", "解除锁定"),
        ROLE_GRANTED: ("granted a role", "授予角色"),
        ROLE_ENDED: ("ended a role", "收回角色"),
        CHANNEL_ADDED: ("added a channel", "新增渠道"),
        CHANNEL_CHANGED: ("changed a channel", "修改渠道"),
        CHANNEL_TOKEN: ("gave a channel a new token", "更换渠道令牌"),
        CHANNEL_CLOSED: ("closed a channel", "关闭渠道"),
        RULE_SET: ("set a rule of access", "修改访问规则"),
    }
)

PAGE: dict[str, Text] = {
    "title": ("Sign in", "登录"),
    "user": ("Name", "用户名"),
    "password": ("Password", "密码"),
    "code": ("Code of the authenticator, if you have one", "动态验证码（如已启用）"),
    "go": ("Sign in", "登录"),
    "not_signed_in": ("The name, the password or the code is not right.", "用户名、密码或验证码不正确。"),
    "code_wanted": ("A code of your authenticator is needed as well.", "还需要动态验证码。"),
    "too_many_attempts": (
        "Too many attempts. Try again in {minutes} min, or ask an administrator.",
        "尝试次数过多，请在{minutes}分钟后重试，或联系系统管理员。",
    ),
    "overloaded": ("Too many people are signing in; try again in a moment.", "登录人数过多，请稍后重试。"),
    "cross_site": ("The form came from another site.", "该表单来自其他网站。"),
    "must_change": (
        "This password was given to you by somebody else: choose your own.",
        "此密码由他人设置，请设置您自己的密码。",
    ),
    "change": ("Change password", "修改密码"),
    "new_password": ("New password: 12 characters or more", "新密码：至少12个字符"),
    "password_refused": (
        "This password does not do: 12..128 characters, 5 different ones at least, not the old one, without your name.",
        "密码不符合要求：12至128个字符，至少5种不同字符，不得与旧密码相同，不得包含用户名。",
    ),
}
